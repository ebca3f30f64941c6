//! Rules: whatever is wrong with a text is found at a place in it, and what rules that are good show
//! of a tree is what they decide of each of its values.

use halfping_rules::{Reads, Rules, Subject, Verb};
use serde_json::{Value, json};

/// The line between rules and tree.
const BETWEEN: &str = "\n---\n";
/// The tree for inputs that have none.
const TREE: &str = r#"{"orders":{"1":{"owner":"kim","x":1,"margin":2},"2":{"owner":"lee","tags":["kim"]}},"teams":{"red":{"docs":{"d":{"owner":"kim"}}}},"a":1}"#;
/// Values of one tree that are decided about.
const PATHS_MAX: usize = 100;

/// Rules in TOML, then a line `---` and a tree.
pub fn rules(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (text, tree) = input.split_once(BETWEEN).unwrap_or((input, TREE));
    let rules = match Rules::parse(text) {
        Ok(rules) => rules,
        Err(refused) => {
            assert!(!refused.findings.is_empty(), "refused for no reason");
            let lines = text.matches('\n').count() + 1;
            for finding in &refused.findings {
                let is_inside = finding.line.is_none_or(|line| (1..=lines).contains(&line));
                assert!(is_inside && !finding.text.is_empty(), "{finding} is nowhere");
            }
            return;
        }
    };
    let tree =
        serde_json::from_str(tree).unwrap_or_else(|_| serde_json::from_str(TREE).expect("JSON"));
    let claims = json!({ "sub": "kim", "roles": ["admin"], "teams": ["red"], "level": 2 });
    let grant = rules.grant(&Subject { claims, me: Value::Null });
    // A rule that is too large for somebody shows less than it says.
    if !grant.faults().is_empty() {
        return;
    }
    let shown = grant.view(&tree);
    let mut paths = Vec::new();
    collect(&tree, &mut Vec::new(), &mut paths);
    for path in paths.iter().take(PATHS_MAX) {
        let at = |level: usize| path[..level].iter().try_fold(&tree, |value, name| value.get(name));
        for verb in [Verb::Read, Verb::Create, Verb::Update, Verb::Delete] {
            let decision = grant.decide(verb, path, &at, &at);
            let explained = grant.explain(verb, path, &at, &at);
            assert_eq!(explained.decision, decision, "{verb} {path:?}");
            assert!(!explained.to_string().is_empty());
        }
        let Some(value) = at(path.len()) else { continue };
        let is_allowed = grant.decide(Verb::Read, path, &at, &|_| None).allowed;
        let seen = path.iter().try_fold(shown.as_ref(), |value, name| value?.get(name).map(Some));
        let seen = seen.flatten();
        if !value.is_object() {
            assert_eq!(seen.is_some(), is_allowed, "{path:?} of {}", grant.scope());
        } else {
            assert!(seen.is_some() || !is_allowed, "{path:?} of {}", grant.scope());
        }
        let part = match grant.read_at(path) {
            Reads::All => Some(value.clone()),
            Reads::Nothing => None,
            Reads::Part(part) => part.shown(path, &at, value),
        };
        assert_eq!(part.as_ref(), seen, "{path:?} of {}", grant.scope());
    }
}

fn collect(value: &Value, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    paths.push(path.clone());
    for (name, value) in value.as_object().into_iter().flatten() {
        path.push(name.clone());
        collect(value, path, paths);
        path.pop();
    }
}
