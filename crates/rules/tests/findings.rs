//! Findings of rules, with their places.

use halfping_rules::{Finding, RULES_MAX, Rule, Rules, Severity};

/// All findings of a text.
fn findings(text: &str) -> Vec<Finding> {
    match Rules::parse(text) {
        Ok(rules) => rules.warnings().to_vec(),
        Err(refused) => refused.findings,
    }
}

/// Findings in one line each, with their places.
fn told(text: &str) -> Vec<String> {
    let told = |of: Finding| {
        let place = |number: Option<usize>| number.map_or("-".to_owned(), |of| of.to_string());
        let severity = match of.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (line, column) = (place(of.line), place(of.column));
        let hint = of.hint.map_or(String::new(), |hint| format!(" | {hint}"));
        format!("{line}:{column} {severity}: {}{hint}", of.text)
    };
    findings(text).into_iter().map(told).collect()
}

/// The first finding about a text has this place, and says this.
#[track_caller]
fn finds(text: &str, place: &str, says: &str) {
    let told = told(text);
    let first = told.first().unwrap_or_else(|| panic!("nothing is found of {text}"));
    assert!(first.starts_with(place) && first.contains(says), "{text}\n{told:#?}");
}

#[test]
fn a_rule_that_cannot_be_read_is_told_with_its_place_and_a_remedy() {
    for (rule, place, says) in [
        ("path = '/a'", "1:1 error", "neither allows nor denies | write allow = [\"read\"]"),
        ("allow = ['read']\ndeny = ['read']\npath = '/a'", "1:1 error", "and this one does both"),
        ("allow = []\npath = '/a'", "1:1 error", "'allow' has no verbs"),
        (
            "allow = ['read', 'patch']\npath = '/a'",
            "2:18 error",
            "unknown verb `patch` | did you mean \"update\"?",
        ),
        ("deny = ['fly']\npath = '/a'", "2:9 error", "the verbs are read, create"),
        ("allow = ['read']\npath = 'a'", "3:8 error", "'path': a path begins with '/'"),
        ("allow = ['read']\npath = '/a/*'", "3:8 error", "write a variable, such as {name}"),
        ("allow = ['read']\npath = '/{a}/b/{a}'", "3:8 error", "has {a} twice"),
        (
            "allow = ['read']\npath = '/a'\nwhen = 'true'\nunless = 'false'",
            "4:8 error",
            "'when' or 'unless' | write both as one",
        ),
        (
            "allow = ['read']\npath = '/a'\nwhen = 'resource.b = 1'",
            "4:20 error",
            "'when', column 12: one `=` means nothing here: write `==`",
        ),
        // Where the text has an escape, the place is that of the condition.
        (
            "allow = ['read']\npath = '/a'\nunless = \"\\\"x\\\" = 1\"",
            "4:10 error",
            "'unless', column 5",
        ),
        (
            "allow = ['read']\npath = '/a'\nwhen = 'resource == claims'",
            "4:9 error",
            "reads named members only",
        ),
        (
            "allow = ['read']\npath = '/a'\nwhen = 'order == 1'",
            "4:9 error",
            "there is no `order` here; there are `claims`, `me`, `resource`, `new`; a member of \
             the resource is `resource.order`",
        ),
        (
            "allow = ['read', 'update']\npath = '/a'\nwhen = 'new.b == 1'",
            "4:8 error",
            "there is none in a rule for `read`, or for `delete` alone | write a rule of its own",
        ),
        ("allow = ['delete']\npath = '/a'\nwhen = 'new.b == 1'", "4:8 error", "`new` is what"),
        ("allow = ['read']", "1:1 error", "missing field `path` | write path ="),
        ("allow = 'read'\npath = '/a'", "2:9 error", "verbs are a list: [\"read\"]"),
        (
            "allow = ['read']\npath = '/a'\nwhere = 'a'",
            "4:1 error",
            "unknown setting `where` | a rule has",
        ),
        ("allow = ['read'\n", "", "error"),
    ] {
        finds(&format!("[[rule]]\n{rule}"), place, says);
    }
    finds(
        "listen = 1\n[[rule]]\nallow = ['read']\npath = '/a'",
        "1:1 error",
        "unknown setting `listen`",
    );
    finds("[rule]\nallow = ['read']\npath = '/a'", "1:1 error", "each rule begins with [[rule]]");
    let among = "listen = 1\n[[rule]]\nallow = ['read']\npath = '/a'";
    assert_eq!(Rules::parse_among(among).unwrap().len(), 1);
}

#[test]
fn all_rules_with_errors_are_told() {
    let text = "[[rule]]\nallow = ['reed']\npath = 'a'\n\n\
                [[rule]]\nallow = ['read']\npath = '/b'\n\n\
                [[rule]]\ndeny = ['read']\npath = '/c'\nwhen = '='";
    let found = findings(text);
    let places: Vec<_> = found.iter().map(|of| (of.rule.unwrap(), of.line.unwrap())).collect();
    assert_eq!(places, [(1, 2), (1, 3), (3, 12)]);
    let refused = Rules::parse(text).unwrap_err().to_string();
    assert!(
        refused.starts_with("line 2: rule 1: 'allow': unknown verb `reed`; did you mean"),
        "{refused}"
    );
}

fn rule(allow: &str, path: &str, when: &str) -> String {
    let when = if when.is_empty() { String::new() } else { format!("when = \"{when}\"\n") };
    format!("[[rule]]\nallow = [\"{allow}\"]\npath = \"{path}\"\n{when}\n")
}

#[test]
fn names_are_not_shown_by_accident() {
    let tasks = "/projects/{project}/tasks/{task}";
    let hint = "with path = \"/projects/{project}\" and beneath = false; or bind {project}";
    for when in ["", "resource.owner == claims.sub", "'staff' in claims.roles"] {
        let text = rule("read", tasks, when);
        finds(&text, "3:8 error", "the rule shows the names under /projects, which no rule allows");
        finds(&text, "3:8 error", hint);
        // Writes show nothing.
        assert!(Rules::parse(&rule("write", tasks, when)).is_ok(), "{when}");
        // A rule for everybody allows them.
        for other in ["/projects/{any}", "/projects", "/"] {
            let rules = Rules::parse(&[rule("read", other, ""), text.clone()].concat());
            assert!(rules.is_ok(), "{other}: {rules:?}");
        }
        for other in ["/projects/a", "/projects/{p}/tasks", "/{p}/a"] {
            let both = [rule("read", other, ""), text.clone()].concat();
            assert!(told(&both).iter().any(|of| of.contains("under /projects,")), "{other}");
        }
        let node = format!("{}beneath = false\n", rule("read", "/projects/{p}", "").trim_end());
        let node = node.replace("beneath", "\nbeneath");
        assert!(Rules::parse(&[node, text.clone()].concat()).is_ok());
    }
    // So does one for the same people.
    let staff = "'staff' in claims.roles";
    let names = rule("read", "/projects/{p}", staff);
    let own = rule("read", tasks, &format!("resource.owner == claims.sub && {staff}"));
    assert!(Rules::parse(&[names.clone(), own].concat()).is_ok());
    let all = rule("read", tasks, "resource.owner == claims.sub");
    assert!(Rules::parse(&[names, all].concat()).is_err());
    // Or the variable is bound.
    for bound in ["project in me.projects", "project == claims.project && resource.a == project"] {
        assert!(Rules::parse(&rule("read", tasks, bound)).is_ok(), "{bound}");
    }
    assert!(Rules::parse(&rule("read", "/projects/{project}", "resource.a == project")).is_ok());
    // Otherwise it cannot be asked about.
    for asked in
        ["project in me.projects || resource.a == 1", "project != 'x'", "resource.a == project"]
    {
        finds(
            &rule("read", tasks, asked),
            "4:8 error",
            "the condition reads {project}, which stands above",
        );
    }
    // A deny shows nothing, and may not depend on a name that its condition may leave open.
    let deny = |when: &str| rule("read", tasks, when).replace("allow", "deny");
    for when in ["", "resource.secret", "project in me.hidden"] {
        assert!(Rules::parse(&deny(when)).is_ok(), "{when}");
    }
    finds(&deny("project in me.hidden && project != 'x'"), "4:8 error", "can only be asked, once");
}

#[test]
fn rules_that_decide_nothing_are_warned_of() {
    let read = |path: &str, when: &str| rule("read", path, when);
    let deny = |path: &str, when: &str| rule("read", path, when).replace("allow", "deny");
    let owner = "resource.owner == claims.sub";
    let of_rule = |(line, does, by): (usize, &str, usize)| {
        let what = format!("the rule decides nothing: rule {by} {does} all that it {does}");
        format!("{line}:1 warning: {what} | remove it, or narrow the other")
    };
    let (all, owned) = (read("/a", ""), read("/a/{x}", owner));
    for (first, second, says) in [
        (all.clone(), read("/a/b", owner), Some((5, "allows", 1))),
        (owned.clone(), owned.clone(), Some((6, "allows", 1))),
        (read("/a/b", ""), all.clone(), Some((1, "allows", 2))),
        (deny("/{x}", ""), deny("/a/b", owner), Some((5, "denies", 1))),
        (deny("/a", ""), deny("/{x}/b", ""), None),
        (all.clone(), deny("/a/b", ""), None),
        (all, rule("write", "/a", ""), None),
        (read("/a", owner), read("/a/b", ""), None),
        (read("/a/b", ""), owned, None),
    ] {
        let found = told(&[&*first, &*second].concat());
        let expected: Vec<String> = says.into_iter().map(of_rule).collect();
        assert_eq!(found, expected, "{first}{second}");
    }
    let found = told(&[&*deny("/a", ""), &*read("/a/b", "")].concat());
    let says = "5:1 warning: the rule decides nothing: rule 1 denies all that it allows";
    assert!(found.len() == 1 && found[0].starts_with(says), "{found:?}");
}

#[test]
fn a_condition_that_every_change_has_to_be_asked_about_is_warned_of() {
    let found = |when: &str| told(&rule("read", "/orders/{order}", when));
    for when in
        ["resource.level < claims.level", "resource.owner == claims.sub || resource.open != true"]
    {
        let found = found(when);
        assert!(
            found.len() == 1
                && found[0].starts_with("4:8 warning: nothing in the condition has to be equal"),
            "{found:?}"
        );
    }
    for when in ["resource.owner == claims.sub", "'staff' in claims.roles", "order in me.orders"] {
        assert_eq!(found(when), Vec::<String>::new());
    }
}

#[test]
fn rules_of_a_program_have_numbers_and_no_lines() {
    let allow = Some(vec!["read".to_owned()]);
    let rules = vec![Rule { allow, path: "a".to_owned(), ..Rule::default() }];
    let refused = Rules::new(rules).unwrap_err();
    let finding = &refused.findings[0];
    assert_eq!((finding.rule, finding.line, finding.column), (Some(1), None, None));
    assert_eq!(refused.to_string(), "rule 1: 'path': a path begins with '/'");

    let allow = Some(vec!["read".to_owned()]);
    let many = vec![Rule { allow, ..Rule::default() }; RULES_MAX + 1];
    let refused = Rules::new(many).unwrap_err().to_string();
    assert!(refused.starts_with("there are 1001 rules, and may be 1000"), "{refused}");
    assert!(Rules::default().is_empty());
}
