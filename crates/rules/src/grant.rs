//! Grants: what rules come to for one subject.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use crate::compiled::Compiled;
use crate::decision::{Decision, Explanation, Facts, Known, OfRead, OfWrite, Question, Side};
use crate::fold::{self, Fault};
use crate::part::Reads;
use crate::rule::Effect;
use crate::scope::Scope;
use crate::subject::Subject;
use crate::verb::Verb;

/// The outcome of rules for one subject.
///
/// For reading, all that is known of the subject is worked out: [`scope`](Grant::scope). Grants are
/// equal if these are: subjects with equal grants read the same, and can share what is made for
/// them. What they may write can differ, and is decided when it is asked.
///
/// ```
/// use halfping_rules::{Reads, Rules, Subject, Verb};
/// use serde_json::json;
///
/// let rules = Rules::parse(r#"
///     [[rule]]
///     allow = ["read"]
///     path = "/orders/{order}"
///     when = "resource.owner == claims.sub"
///
///     [[rule]]
///     deny = ["read"]
///     path = "/orders/{order}/margin"
///     unless = "'finance' in claims.roles"
/// "#).map_err(|refused| refused.to_string())?;
/// let kim = Subject { claims: json!({"sub": "kim", "roles": []}), ..Subject::default() };
/// let grant = rules.grant(&kim);
/// let tree = json!({"orders": {
///     "1": {"owner": "kim", "total": 5, "margin": 1},
///     "2": {"owner": "lee", "total": 7, "margin": 2},
/// }});
/// let shown = json!({"orders": {"1": {"owner": "kim", "total": 5}}});
/// assert_eq!(grant.view(&tree), Some(shown));
/// assert_eq!(grant.read_at(&["customers"]), Reads::Nothing);
/// assert_eq!(
///     grant.scope().to_string(),
///     "/orders/*/** allow when owner == \"kim\"\n/orders/*/margin/** deny\n"
/// );
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grant {
    rules: Arc<[(usize, Compiled)]>,
    subject: Arc<Subject>,
    scope: Arc<Scope>,
    faults: Arc<[Fault]>,
    /// Scopes of what may be created, updated and deleted, once that is asked.
    writes: Arc<[OnceLock<Arc<Scope>>; 3]>,
}

impl Grant {
    pub(crate) fn new(rules: &Arc<[(usize, Compiled)]>, subject: &Subject) -> Grant {
        let (scope, faults) = fold::scope(rules, subject, Verb::Read);
        Grant {
            rules: Arc::clone(rules),
            subject: Arc::new(subject.clone()),
            scope: Arc::new(scope),
            faults: faults.into(),
            writes: Arc::default(),
        }
    }

    /// The scope of what may be read, from the root.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Rules that were too large for this subject, so that it may read less than they say.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The reach of reading at a path.
    pub fn read_at<S: AsRef<str>>(&self, path: &[S]) -> Reads {
        Reads::at(&self.scope, path)
    }

    /// The reach of a verb at a path, as [`read_at`](Grant::read_at) tells it of reading: all
    /// that is there and beneath it, nothing, or a part. Of a part,
    /// [`decide_write`](Grant::decide_write) decides.
    ///
    /// ```
    /// use halfping_rules::{Reads, Rules, Subject, Verb};
    ///
    /// let rules = Rules::parse(r#"
    ///     [[rule]]
    ///     allow = ["write"]
    ///     path = "/orders"
    ///
    ///     [[rule]]
    ///     deny = ["update"]
    ///     path = "/orders/{order}/margin"
    /// "#).map_err(|refused| refused.to_string())?;
    /// let grant = rules.grant(&Subject::default());
    /// assert_eq!(grant.at(Verb::Create, &["orders", "1"]), Reads::All);
    /// assert!(matches!(grant.at(Verb::Update, &["orders", "1"]), Reads::Part(_)));
    /// assert_eq!(grant.at(Verb::Update, &["orders", "1", "margin"]), Reads::Nothing);
    /// assert_eq!(grant.at(Verb::Read, &["orders"]), Reads::Nothing);
    /// # Ok::<(), String>(())
    /// ```
    pub fn at<S: AsRef<str>>(&self, verb: Verb, path: &[S]) -> Reads {
        let place = match verb {
            Verb::Read => return self.read_at(path),
            Verb::Create => 0,
            Verb::Update => 1,
            Verb::Delete => 2,
        };
        let scope = || Arc::new(fold::scope(&self.rules, &self.subject, verb).0);
        Reads::at(self.writes[place].get_or_init(scope), path)
    }

    /// The part of a whole tree that may be read; `None` if nothing of it. A value is shown if a
    /// rule allows it and none denies it. An object above shown parts is shown as an object with
    /// just these; one without a shown part is absent, unless a rule allows the object itself.
    pub fn view(&self, tree: &Json) -> Option<Json> {
        self.scope.shown(tree, "", false)
    }

    /// Decides about one thing that the subject wants to do. `before` gives what is at the first
    /// levels of the path, and `after` what would be there: nothing, unless it is a write.
    pub fn decide<'v, S: AsRef<str>>(
        &self,
        verb: Verb,
        path: &[S],
        before: &dyn Fn(usize) -> Option<&'v Json>,
        after: &dyn Fn(usize) -> Option<&'v Json>,
    ) -> Decision {
        self.question(path, &Known { verb, before, after }).decide(&self.rules)
    }

    /// Decides about one value that a write changes: that comes, goes, or becomes another. `path`
    /// leads there, and its first `at` names to the resource that is written, which is this value
    /// or above it. The write is allowed if this is so for all that it changes.
    ///
    /// A rule sees a write as that of the value at which its pattern ends: as `create` where that
    /// was not there before, as `delete` where it is not there after, else as `update`. If its
    /// pattern ends above the resource that is written, and its condition speaks of neither
    /// `resource` nor `new`, it sees the write as that of the resource.
    ///
    /// ```
    /// use halfping_rules::{Rules, Side, Subject};
    /// use serde_json::{Value, json};
    ///
    /// struct Tree(Value);
    ///
    /// impl Tree {
    ///     /// The value at the first levels of `/orders/7/note`.
    ///     fn at(&self, level: usize) -> Option<&Value> {
    ///         ["orders", "7", "note"][..level].iter().try_fold(&self.0, |at, name| at.get(name))
    ///     }
    /// }
    ///
    /// impl Side for Tree {
    ///     fn is_there(&self, level: usize) -> bool {
    ///         self.at(level).is_some()
    ///     }
    ///     fn value(
    ///         &self,
    ///         level: usize,
    ///         _: &mut dyn Iterator<Item = &[Box<str>]>,
    ///     ) -> Option<Value> {
    ///         self.at(level).cloned()
    ///     }
    /// }
    ///
    /// let rules = Rules::parse(r#"
    ///     [[rule]]
    ///     allow = ["update"]
    ///     path = "/orders/{order}"
    ///     when = "resource.owner == claims.sub && new.owner == resource.owner"
    /// "#).map_err(|refused| refused.to_string())?;
    /// let kim = rules.grant(&Subject { claims: json!({"sub": "kim"}), ..Subject::default() });
    /// let before = Tree(json!({"orders": {"7": {"owner": "kim"}}}));
    /// let after = Tree(json!({"orders": {"7": {"owner": "kim", "note": "x"}}}));
    /// // A patch of /orders/7 that adds the note.
    /// assert!(kim.decide_write(2, &["orders", "7", "note"], &before, &after).allowed);
    /// # Ok::<(), String>(())
    /// ```
    pub fn decide_write<S: AsRef<str>>(
        &self,
        at: usize,
        path: &[S],
        before: &dyn Side,
        after: &dyn Side,
    ) -> Decision {
        self.question(path, &OfWrite { at, before, after }).decide(&self.rules)
    }

    /// Decides, with the reasons.
    pub fn explain<'v, S: AsRef<str>>(
        &self,
        verb: Verb,
        path: &[S],
        before: &dyn Fn(usize) -> Option<&'v Json>,
        after: &dyn Fn(usize) -> Option<&'v Json>,
    ) -> Explanation {
        self.question(path, &Known { verb, before, after }).explain(verb, &self.rules)
    }

    /// Decides about reading one value in a state of the tree.
    pub fn decide_read<S: AsRef<str>>(&self, path: &[S], state: &dyn Side) -> Decision {
        self.question(path, &OfRead { state }).decide(&self.rules)
    }

    /// True if a rule may deny a write of something at a path or beneath it, whatever the verb.
    pub fn may_deny_writes<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.rules.iter().any(|(_, rule)| {
            rule.effect == Effect::Deny && rule.is_about_writes() && rule.pattern.meets(path)
        })
    }

    /// The number of rules, each of which a decision looks at.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    fn question<'a, S: AsRef<str>>(
        &'a self,
        path: &'a [S],
        facts: &'a dyn Facts,
    ) -> Question<'a, S> {
        Question { subject: &self.subject, path, facts }
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Grant) -> bool {
        self.scope == other.scope
    }
}

impl Eq for Grant {}

impl Hash for Grant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scope.hash(state);
    }
}
