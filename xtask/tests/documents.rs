//! What documents and tests refer to is there: links, headings, and rules of the protocol.

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
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = path.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { path.clone() } else { plain(&folder.join(file)) };
            if !checkout::root().join(&target).exists() {
                broken.push(format!("{}: ({link}): there is no {}", path.display(), target.display()));
            } else if let Some((_, text)) = documents.iter().find(|(document, _)| *document == target)
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
            // Other titles are for people.
            let titled = line.split_once(" title=\"").filter(|(_, title)| title.contains('/'));
            let Some((fence, file)) = titled else { continue };
            let Some((indent, _)) = fence.split_once("```") else { continue };
            let file = file.trim_end_matches('"');
            let of_file = std::fs::read_to_string(checkout::root().join(file));
            let of_file = of_file.unwrap_or_else(|error| panic!("{at}: {file}: {error}"));
            let end = format!("{indent}```");
            let block = lines[number + 1..].iter().take_while(|line| **line != end);
            let block: Vec<&str> = block.map(|line| line.strip_prefix(indent).unwrap_or(line)).collect();
            let is_whole = of_file.ends_with(&format!("{}\n", block.join("\n")));
            assert!(is_whole, "{at}: it is not what {file} has to its end; copy it from there");
            found += 1;
        }
    }
    assert!(found > 10, "only {found} samples of files were found: does this test still read them?");
}

#[test]
fn rules_of_the_protocol_are_numbered_once() {
    let rules = rules();
    let once: BTreeSet<&String> = rules.iter().collect();
    assert!(rules.len() > 40, "PROTOCOL.md should have rules, has {}", rules.len());
    assert_eq!(once.len(), rules.len(), "a number stands for two rules in PROTOCOL.md");
}

#[test]
fn rules_that_are_cited_exist() {
    let rules: BTreeSet<String> = rules().into_iter().collect();
    let mut unknown = Vec::new();
    let mut cited = 0;
    for (path, text) in checkout::files("", &["rs", "md", "mjs", "js", "ts", "py", "toml", "html", "txt"]) {
        for (number, line) in text.lines().enumerate() {
            let families = |rule: &&str| rules.iter().any(|known| known[..1] == rule[..1]);
            let in_parentheses = parenthesised(line).into_iter().filter(families);
            for rule in citations(line).into_iter().chain(in_parentheses) {
                cited += 1;
                if !rules.contains(rule) {
                    unknown.push(format!("{}:{}: PROTOCOL.md has no {rule}", path.display(), number + 1));
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
    assert_eq!(citations("PROTOCOL.md and PROTOCOL 6"), [""; 0]);
    assert_eq!(parenthesised("only then (S5, S7), not (S5: why) or f(x), but (C4)"), ["S5", "S7", "C4"]);
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
        // What stands between backticks is every second piece.
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
        let letters = letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        letters.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| slug(line.trim_start_matches('#'))).collect()
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

/// The numbers of the rules in PROTOCOL.md, as they stand at the beginning of each: `- **S5** …`.
fn rules() -> Vec<String> {
    let text = std::fs::read_to_string(checkout::root().join("PROTOCOL.md")).expect("PROTOCOL.md");
    let number =
        |line: &str| line.strip_prefix("- **")?.split_once("** ").map(|(number, _)| number.to_owned());
    text.lines().filter_map(number).collect()
}

/// Rules that a line cites: `PROTOCOL S5`, `PROTOCOL S5, S7 and C4`.
fn citations(line: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    for rest in line.split("PROTOCOL ").skip(1) {
        let words = rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        rules.extend(words.filter(|word| *word != "and").take_while(|word| is_rule(word)));
    }
    rules
}

/// Rules that stand alone in parentheses: `(S5)`, `(S5, S7)`. Other documents may number things likewise.
fn parenthesised(line: &str) -> Vec<&str> {
    let inside = line.split('(').skip(1).filter_map(|rest| rest.split_once(')'));
    let lists = inside.map(|(inside, _)| inside.split(", ").collect::<Vec<_>>());
    lists.filter(|words| words.iter().all(|word| is_rule(word))).flatten().collect()
}

/// One capital letter and a number.
fn is_rule(word: &str) -> bool {
    let Some((letter, number)) = word.split_at_checked(1) else { return false };
    letter.chars().all(|c| c.is_ascii_uppercase())
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
}
