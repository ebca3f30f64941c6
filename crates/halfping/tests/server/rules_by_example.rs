//! The rules of the guide's page of examples: each table is a conversation.

use std::collections::BTreeMap;

use crate::common::identity::{NOBODY, ask, bearer, serve_auth, token_for};
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/guides/rules-by-example.md");

/// The rows of the tables of a section, each without its heading, as cells.
fn rows(section: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = section.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    });
    cells.filter(|cells| cells[0] != "who")
}

#[test]
fn each_example_does_what_its_table_says() {
    let mut sections = PAGE.split("\n## ");
    let people: BTreeMap<String, String> = rows(sections.next().unwrap())
        .map(|cells| {
            let claims: Value = serde_json::from_str(&cells[1]).unwrap();
            let sub = claims["sub"].as_str().unwrap().to_owned();
            (cells[0].clone(), bearer(&token_for(&sub, 3600, claims)))
        })
        .chain([("nobody".to_owned(), NOBODY.to_owned())])
        .collect();
    let mut tried = 0;
    for section in sections {
        let Some((_, rest)) = section.split_once("```toml\n") else { continue };
        let server = serve_auth("", rest.split_once("```").unwrap().0);
        for cells in rows(section) {
            let [who, request, expect] = cells.as_slice() else { panic!("{cells:?}") };
            let (head, body) = match request.splitn(3, ' ').collect::<Vec<_>>()[..] {
                [method, path, body] => (format!("{method} {path}"), body),
                _ => (request.clone(), ""),
            };
            let merge = match head.starts_with("PATCH") {
                true => "\nContent-Type: application/merge-patch+json",
                false => "",
            };
            let answer = ask(&server, &format!("{head}{merge}\n\n{body}"), &people[who]);
            let title = section.lines().next().unwrap();
            let told = format!("{title}: {who}: {request}: {} {}", answer.status, answer.text());
            match expect.parse::<u16>() {
                Ok(status) => assert_eq!(answer.status, status, "{told}"),
                Err(_) => {
                    let value: Value = serde_json::from_slice(&answer.body).expect(&told);
                    assert_eq!(value, serde_json::from_str::<Value>(expect).unwrap(), "{told}");
                    assert_eq!(answer.status, 200, "{told}");
                }
            }
            tried += 1;
        }
    }
    assert!(tried > 35, "{tried} rows were found");
}
