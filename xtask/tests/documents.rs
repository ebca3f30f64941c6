//! Test that references in documents and tests resolve: links, headings, and rules of the protocol.

mod checkout;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn relative_links_in_documents_lead_somewhere() {
    let documents = checkout::files("", &["md"]);
    let mut broken = Vec::new();
    let mut followed = 0;
    for (path, text) in &documents {
        for link in links(text) {
            let of_repository = OF_REPOSITORY.iter().find_map(|start| link.strip_prefix(start));
            if of_repository.is_none() && link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let link = of_repository.unwrap_or(&link);
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.parent().filter(|_| of_repository.is_none()).unwrap_or(Path::new(""));
            let target = if file.is_empty() { path.clone() } else { plain(&folder.join(file)) };
            if !checkout::root().join(&target).exists() {
                broken.push(format!(
                    "{}: ({link}): there is no {}",
                    path.display(),
                    target.display()
                ));
            } else if let Some((_, text)) =
                documents.iter().find(|(document, _)| *document == target)
                && !heading.is_empty()
                && !headings(text).contains(heading)
            {
                broken.push(format!(
                    "{}: ({link}): {} has no such heading",
                    path.display(),
                    target.display()
                ));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(followed > 0, "no relative link was found at all: does this test still read links?");
}

/// Beginnings of links to the repository, in documents that are read elsewhere.
const OF_REPOSITORY: [&str; 2] = [
    "https://github.com/halfping/halfping/blob/main/",
    "https://github.com/halfping/halfping/tree/main/",
];

/// Documents that are packed with their folder, and read where nothing else of the checkout is.
const PACKED: [&str; 1] = ["clients/typescript/README.md"];

#[test]
fn a_packed_document_links_to_nothing_outside_its_package() {
    for document in PACKED {
        let text = std::fs::read_to_string(checkout::root().join(document)).expect(document);
        let links = links(&text);
        assert!(!links.is_empty(), "{document}: does this test still read links?");
        let leaving: Vec<&String> = links.iter().filter(|link| link.starts_with("..")).collect();
        assert!(leaving.is_empty(), "{document}: dead in the package: {leaving:?}");
    }
}

#[test]
fn samples_of_files_stand_whole_in_the_pages_and_are_those_of_the_files() {
    let mut found = 0;
    for (path, text) in checkout::files("docs", &["md"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            assert!(
                !line.contains("--8<--") || line.ends_with(".svg\""),
                "{at}: whoever reads the checkout sees no sample"
            );
            // Other titles are written for people.
            let titled = line.split_once(" title=\"").filter(|(_, title)| title.contains('/'));
            let Some((fence, file)) = titled else { continue };
            let Some((indent, _)) = fence.split_once("```") else { continue };
            let file = file.trim_end_matches('"');
            let of_file = std::fs::read_to_string(checkout::root().join(file));
            let of_file = of_file.unwrap_or_else(|error| panic!("{at}: {file}: {error}"));
            let end = format!("{indent}```");
            let block = lines[number + 1..].iter().take_while(|line| **line != end);
            let block: Vec<&str> =
                block.map(|line| line.strip_prefix(indent).unwrap_or(line)).collect();
            let is_whole = of_file.ends_with(&format!("{}\n", block.join("\n")));
            assert!(is_whole, "{at}: it is not what {file} has to its end; copy it from there");
            found += 1;
        }
    }
    assert!(
        found > 10,
        "only {found} samples of files were found: does this test still read them?"
    );
}

#[test]
fn rules_of_the_protocol_are_numbered_once() {
    let text = protocol();
    let mut once = BTreeSet::new();
    let mut last = "";
    for (number, _) in rules(&text) {
        assert!(is_rule(number), "PROTOCOL.md: {number} is no number of a rule");
        assert!(once.insert(number), "PROTOCOL.md: {number} stands for two rules");
        let (rule, part) = rule_and_part(number);
        let (last_rule, last_part) = rule_and_part(last);
        let follows = match (part.chars().next(), last_part.chars().next()) {
            (Some('a'), _) => rule != last_rule,
            (Some(part), Some(last)) => rule == last_rule && part as u32 == last as u32 + 1,
            (Some(_), None) => false,
            (None, _) => rule != last_rule,
        };
        assert!(follows, "PROTOCOL.md: {number} cannot follow {last}: parts are a, b, c …");
        last = number;
    }
    assert!(once.len() > 40, "PROTOCOL.md should have rules, has {}", once.len());
}

#[test]
fn no_rule_of_the_protocol_has_more_than_80_words() {
    let text = protocol();
    let words = |(number, rule): (_, String)| (number, rule.split_whitespace().count());
    let counted: Vec<(&str, usize)> = rules(&text).into_iter().map(words).collect();
    let long: Vec<String> = counted
        .iter()
        .filter(|(_, words)| *words > RULE_WORDS_MAX)
        .map(|(number, words)| format!("{number} has {words} words"))
        .collect();
    assert!(
        long.is_empty(),
        "PROTOCOL.md: {}; at most {RULE_WORDS_MAX} are allowed. Split it into parts: L6a, L6b …",
        long.join(", ")
    );
    let longest = counted.iter().map(|(_, words)| *words).max();
    assert!(longest > Some(40), "the longest has {longest:?} words: are rules still read whole?");
}

#[test]
fn rules_that_are_cited_exist() {
    let text = protocol();
    // The number of a rule stands for all its parts.
    let numbers = rules(&text).into_iter().map(|(number, _)| [number, rule_and_part(number).0]);
    let rules: BTreeSet<&str> = numbers.flatten().collect();
    let mut unknown = Vec::new();
    let mut cited = 0;
    for (path, text) in
        checkout::files("", &["rs", "md", "mjs", "js", "ts", "py", "toml", "html", "txt"])
    {
        for (number, line) in text.lines().enumerate() {
            let families = |rule: &&str| rules.iter().any(|known| known[..1] == rule[..1]);
            let in_parentheses = parenthesised(line).into_iter().filter(families);
            for rule in citations(line).into_iter().chain(in_parentheses) {
                cited += 1;
                if !rules.contains(rule) {
                    unknown.push(format!(
                        "{}:{}: PROTOCOL.md has no {rule}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert!(cited > 0, "no rule is cited at all: does this test still read citations?");
}

#[test]
fn citations_are_read_as_people_write_them() {
    assert_eq!(citations("// PROTOCOL S5: parts"), ["S5"]);
    assert_eq!(citations("(PROTOCOL S5, S7 and C4)"), ["S5", "S7", "C4"]);
    assert_eq!(citations("PROTOCOL L6b, O5: why"), ["L6b", "O5"]);
    assert_eq!(citations("PROTOCOL.md and PROTOCOL 6"), [""; 0]);
    assert_eq!(
        parenthesised("only then (S5, S7), not (S5: why) or f(x), but (C4)"),
        ["S5", "S7", "C4"]
    );
}

#[test]
fn rules_are_read_whole() {
    let text = "- **S5** One,\n  two.\n\n  - Three.\n- **S6a** Four.\n\nNot this.\n";
    let rules: Vec<(&str, String)> = rules(text);
    assert_eq!(rules, [("S5", "One,\n  two.\n\n  - Three.".into()), ("S6a", "Four.".into())]);
}

#[test]
fn links_are_read_outside_code() {
    let text = "[a](b.md) `[c](d)`\n```\n[e](f)\n```\n[g]: h.md\n![i](<j k.png> \"title\")";
    assert_eq!(links(text), ["b.md", "h.md", "j k.png"]);
    assert!(headings("## Read `once`, now\n").contains("read-once-now"));
}

/// Targets of links: `[text](target)`, `[name]: target`.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece is a text between backticks.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        if prose.starts_with('[')
            && let Some((_, target)) = prose.split_once("]: ")
        {
            links.push(target.trim().to_owned());
        }
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let target = match target.strip_prefix('<') {
                Some(angled) => angled.split('>').next().unwrap_or_default(),
                None => target.split(' ').next().unwrap_or_default(),
            };
            links.push(target.to_owned());
        }
    }
    links
}

/// The headings of a document as links name them.
fn headings(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let letters = heading.trim().to_lowercase();
        let letters =
            letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        letters.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#')))
        .collect()
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The most words of a rule of the protocol: a longer one is split into parts.
const RULE_WORDS_MAX: usize = 80;

/// The text of PROTOCOL.md.
fn protocol() -> String {
    std::fs::read_to_string(checkout::root().join("PROTOCOL.md")).expect("PROTOCOL.md")
}

/// The rules in PROTOCOL.md, `- **S5** …`: their numbers, and their text with what is indented
/// beneath the first line.
fn rules(protocol: &str) -> Vec<(&str, String)> {
    let mut rules: Vec<(&str, String)> = Vec::new();
    let mut is_within = false;
    for line in protocol.lines() {
        if let Some((number, text)) =
            line.strip_prefix("- **").and_then(|rest| rest.split_once("** "))
        {
            rules.push((number, text.to_owned()));
            is_within = true;
            continue;
        }
        is_within &= line.is_empty() || line.starts_with("  ");
        if let Some((_, text)) = rules.last_mut().filter(|_| is_within) {
            text.push('\n');
            text.push_str(line);
        }
    }
    for (_, text) in &mut rules {
        text.truncate(text.trim_end().len());
    }
    rules
}

/// Splits the part from the number of a rule: `L6b` is the part `b` of the rule `L6`.
fn rule_and_part(number: &str) -> (&str, &str) {
    let rule = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
    number.split_at(rule.len())
}

/// The rules that a line cites: `PROTOCOL S5`, `PROTOCOL S5, S7 and C4`.
fn citations(line: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    for rest in line.split("PROTOCOL ").skip(1) {
        let words =
            rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        rules.extend(words.filter(|word| *word != "and").take_while(|word| is_rule(word)));
    }
    rules
}

/// Rules alone in parentheses: `(S5)`, `(S5, S7)`. Other documents may number things likewise.
fn parenthesised(line: &str) -> Vec<&str> {
    let inside = line.split('(').skip(1).filter_map(|rest| rest.split_once(')'));
    let lists = inside.map(|(inside, _)| inside.split(", ").collect::<Vec<_>>());
    lists.filter(|words| words.iter().all(|word| is_rule(word))).flatten().collect()
}

/// True if a word is one capital letter, a number and, for a part, one small letter.
fn is_rule(word: &str) -> bool {
    let (rule, part) = rule_and_part(word);
    let Some((letter, number)) = rule.split_at_checked(1) else { return false };
    letter.chars().all(|c| c.is_ascii_uppercase())
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
        && part.len() <= 1
}
