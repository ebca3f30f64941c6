//! The things that a template speaks of.

use crate::expr::Path;

/// The things that a [`Template`](crate::Template) may speak of: the first name of each path is one
/// of these.
#[derive(Clone, Copy, Debug)]
pub struct Things<'t> {
    /// Things of which all may be read.
    pub whole: &'t [&'t str],
    /// Things of which named members may be read, such as `resource.owner`. They stand alone only
    /// where a condition asks whether they are there: `resource == null`, `resource != null`.
    pub by_member: &'t [&'t str],
}

impl Things<'_> {
    pub(crate) const NOT_WHOLE: &'static str = "a condition reads named members only, such as \
                                                `resource.owner`; alone it stands before \
                                                `== null` or `!= null`";

    /// Refuses a name that is that of no thing.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        let mut all = self.whole.iter().chain(self.by_member);
        if all.any(|thing| *thing == name) {
            return Ok(());
        }
        let names: Vec<String> =
            self.whole.iter().chain(self.by_member).map(|thing| format!("`{thing}`")).collect();
        let there_are = format!("there is no `{name}` here; there are {}", names.join(", "));
        Err(match self.by_member.first() {
            Some(thing) => {
                let member = Path::new(vec![Box::from(*thing), Box::from(name)]);
                format!("{there_are}; a member of the {thing} is `{member}`")
            }
            None => there_are,
        })
    }
}
