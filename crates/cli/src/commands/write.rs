//! `halfping put`, `merge` and `delete`: each prints the resource's new cursor.

use std::io::{self, Read, Write};

use halfping_client::{RequestError, Written};
use serde_json::value::RawValue;

use crate::args::{Delete, Merge, Put};
use crate::report::{Blame, Failure};
use crate::target::Target;

/// The longest value that is read from stdin.
const INPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(crate) async fn put(args: Put) -> Result<(), Failure> {
    let json = json(args.json)?;
    written(&args.url, args.url.client()?.put(&args.url.path, json).await)
}

pub(crate) async fn merge(args: Merge) -> Result<(), Failure> {
    let json = json(args.json)?;
    written(&args.url, args.url.client()?.merge(&args.url.path, json).await)
}

pub(crate) async fn delete(args: Delete) -> Result<(), Failure> {
    written(&args.url, args.url.client()?.delete(&args.url.path).await)
}

fn written(target: &Target, outcome: Result<Written, RequestError>) -> Result<(), Failure> {
    let written = outcome.map_err(|error| Failure::request(target, error))?;
    if let Some(cursor) = written.cursor {
        writeln!(io::stdout(), "{cursor}")?;
    }
    Ok(())
}

/// The value of an argument, or of stdin for `-`. It is checked here, because a shell that removed
/// the quotes is the usual mistake.
fn json(argument: String) -> Result<String, Failure> {
    let bad = |why: String| Failure::new(Blame::Input, why);
    let from_stdin = argument == "-";
    let text = if from_stdin {
        let mut text = String::new();
        let read = io::stdin().lock().take(INPUT_BYTES_MAX as u64 + 1).read_to_string(&mut text);
        match read {
            Ok(bytes) if bytes > INPUT_BYTES_MAX => {
                return Err(bad(format!("stdin is longer than {INPUT_BYTES_MAX} bytes")));
            }
            Ok(_) => text,
            Err(error) => return Err(bad(format!("cannot read stdin: {error}"))),
        }
    } else {
        argument
    };
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(value) => Ok(value.get().to_owned()),
        Err(error) => {
            let failure = bad(format!("the value is not JSON: {error}"));
            let is_word =
                !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || " _-.".contains(c));
            Err(if is_word && !from_stdin {
                failure.hint(format!("a string has quotes inside the shell's: '\"{text}\"'"))
            } else {
                failure
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_passed_on_as_they_are_written() {
        for text in ["1.00e2", "{\"a\": [1, 2]}", "\"x\"", "null"] {
            assert_eq!(json(format!(" {text}\n")).unwrap(), text);
        }
    }

    #[test]
    fn a_word_without_quotes_gets_a_hint() {
        assert!(format!("{:?}", json("hello".into())).contains("'\\\"hello\\\"'"));
        assert!(
            format!("{:?}", json("{a:1}".into()))
                .contains("not JSON: key must be a string at line 1 column 2")
        );
    }
}
