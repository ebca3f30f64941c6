//! Findings: what is wrong with rules, and where.

use std::fmt;

use thiserror::Error;

/// Weight of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The rules can be used.
    Warning,
    /// The rules cannot be used.
    Error,
}

/// Something that is wrong with a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Number of the rule, from 1; `None` for the text as a whole.
    pub rule: Option<usize>,
    /// Line of the text, from 1, if rules were read from one.
    pub line: Option<usize>,
    /// Column of that line in characters, from 1.
    pub column: Option<usize>,
    /// The weight.
    pub severity: Severity,
    /// The fault.
    pub text: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl Finding {
    pub(crate) fn new(severity: Severity, text: impl Into<String>) -> Finding {
        Finding { rule: None, line: None, column: None, severity, text: text.into(), hint: None }
    }

    pub(crate) fn error(text: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, text)
    }

    pub(crate) fn warning(text: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, text)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// Puts it at a place of the text, if there is one.
    pub(crate) fn at(mut self, spot: Option<Spot>) -> Finding {
        self.line = spot.map(|spot| spot.line);
        self.column = spot.map(|spot| spot.column);
        self
    }

    pub(crate) fn of(mut self, rule: usize) -> Finding {
        self.rule = Some(rule);
        self
    }
}

/// Writes one line: `line 3: error: rule 2: …; hint: …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(rule) = self.rule {
            write!(f, "rule {rule}: ")?;
        }
        f.write_str(&self.text)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// A place of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Refusal of rules: all findings, errors and warnings, in the order of the rules.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{}", joined(.findings))]
pub struct Refused {
    /// The findings. At least one is an error.
    pub findings: Vec<Finding>,
}

fn joined(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(Finding::to_string).collect::<Vec<_>>().join("\n")
}
