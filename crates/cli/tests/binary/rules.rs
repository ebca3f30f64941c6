//! `halfping rules`, and the refusal to serve with rules.

use std::path::Path;

use crate::common::halfping;

/// Outcome of a run of `halfping`: its exit code, stdout and stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = halfping().args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn file(name: &str, text: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const SHOP: &str = r#"[[rule]]
allow = ["read", "update"]
path = "/orders/{order}"
when = "resource.owner == claims.sub || 'support' in claims.roles"

[[rule]]
deny = ["read"]
path = "/orders/{order}/margin"
unless = "'finance' in claims.roles"

[[rule]]
allow = ["create"]
path = "/orders/{order}"
when = "new.owner == claims.sub && new.status == 'open'"
"#;

#[test]
fn sound_rules_are_counted_also_among_other_settings() {
    let rules = file("sound.toml", SHOP);
    assert_eq!(run(&["rules", "check", &rules]), (0, "3 rules, all sound\n".into(), "".into()));
    let among = file("among.toml", &format!("listen = 7171\n{SHOP}"));
    assert_eq!(run(&["rules", "check", &among]).1, "3 rules, all sound\n");
    let none = file("none.toml", "listen = 7171\n");
    assert_eq!(run(&["rules", "check", &none]).1, "no rules\n");
    let slow = SHOP.replace("resource.owner == claims.sub ||", "resource.n < claims.n ||");
    let slow = file("slow.toml", &slow);
    let (code, told, _) = run(&["rules", "check", &slow]);
    assert_eq!(code, 0);
    assert!(told.starts_with(&format!("{slow}:4: warning: rule 1: nothing in")), "{told}");
    assert!(told.ends_with("\n3 rules, 1 warning\n"), "{told}");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_a_hint() {
    let wrong = SHOP.replace("\"update\"", "\"patch\"").replace("'finance' in", "'finance' =");
    let wrong = file("wrong-rules.toml", &wrong);
    let (code, told, said) = run(&["rules", "check", &wrong]);
    assert_eq!(
        told,
        format!(
            "{wrong}:2: error: rule 1: 'allow': unknown verb `patch`\n  \
             hint: did you mean \"update\"?\n\
             {wrong}:9: error: rule 2: 'unless', column 11: one `=` means nothing here: write `==`\n"
        )
    );
    assert_eq!((code, said), (1, format!("error: {wrong}: 2 errors\n")));

    // A section whose name is misspelt would be no rule.
    let misspelt = file("misspelt.toml", &SHOP.replace("[[rule]]", "[[rules]]"));
    let (code, told, said) = run(&["rules", "check", &misspelt]);
    assert_eq!((code, &*told), (4, ""));
    assert!(said.contains("unknown setting `rules`\nhint: did you mean `[[rule]]`?"), "{said}");
    assert_eq!(run(&["rules", "check", "no-such-file"]).0, 4);
}

#[test]
fn a_decision_is_told_with_its_reasons() {
    let rules = file("try.toml", SHOP);
    let claims = file("claims.json", r#"{"sub": "u1", "roles": []}"#);
    let order = r#"{"owner": "u1", "margin": 5}"#;
    let asked = |more: &[&str]| run(&[&["rules", "try", &*rules, "--as", &claims], more].concat());
    let (code, told, said) = asked(&["--path", "/orders/77", "--resource", order]);
    assert_eq!(
        (code, &*told, &*said),
        (
            0,
            "read: allowed by rule 1\n  rule 1, line 1: allow /orders/{order} when resource.owner \
             == claims.sub || 'support' in claims.roles: that is true, so it allows\n",
            ""
        )
    );
    let margin = ["--path", "/orders/77/margin", "--at", "/orders/77", "--resource", order];
    let (code, told, said) = asked(&margin);
    assert_eq!((code, &*said), (1, "error: read of /orders/77/margin is denied\n"));
    assert!(told.starts_with("read: denied by rule 2\n"), "{told}");
    assert!(
        told.ends_with("unless 'finance' in claims.roles: that is false, so it denies\n"),
        "{told}"
    );
    let new = r#"{"owner": "u1", "status": "open"}"#;
    let create = ["--verb", "create", "--path", "/orders/9", "--new", new];
    assert_eq!(asked(&create).0, 0);
    // Nobody has no claims.
    let nobody = run(&[&["rules", "try", &*rules], &create[..]].concat());
    assert_eq!(nobody.0, 1);
    assert!(nobody.1.contains("that has no value, so it does not allow"), "{}", nobody.1);
    let (code, told, _) = asked(&["--path", "/customers"]);
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "read: denied, since no rule allows it\n  no rule is about this path and verb\n"
    );
}

#[test]
fn a_question_that_cannot_be_understood_is_2() {
    let rules = file("misuse.toml", SHOP);
    let asked = |more: &[&str]| run(&[&["rules", "try", &*rules], more].concat());
    for (args, says) in [
        (&[][..], "--path"),
        (&["--path", "orders"], "--path: `orders` is no path: a path begins with '/'"),
        (&["--path", "/orders/{order}"], "write a name in place of {order}"),
        (&["--path", "/a", "--resource", "u1"], "--resource: it is not JSON"),
        (&["--path", "/a", "--at", "/b"], "--at: /b is not at or above /a"),
        (&["--path", "/a", "--verb", "write"], "expected read, create, update or delete"),
    ] {
        let (code, _, said) = asked(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let wrong = file("misuse-wrong.toml", "[[rule]]\npath = '/a'\n");
    let (code, _, said) = run(&["rules", "try", &wrong, "--path", "/a"]);
    assert_eq!(code, 4);
    assert!(said.contains(&format!("hint: `halfping rules check {wrong}` tells them")), "{said}");
}
