//! Rights of those who are told apart, as the door asks for them.

use std::sync::Arc;
use std::time::Duration;

use super::{Access, Sender};
use crate::auth::Rights;
use crate::problem::{Kind, Problem};

impl Access {
    /// Identity, and what the rules allow it; `None` where nobody is told apart.
    pub(crate) fn rights(&self) -> Option<&Rights> {
        self.sender.as_ref()?.rights.as_ref()
    }

    /// True if rules say who may do what.
    pub(super) fn has_rules(&self) -> bool {
        self.rights().is_some_and(Rights::has_rules)
    }

    /// The same access for whom these rights are.
    pub(super) fn with_rights(&self, rights: Rights) -> Access {
        let sender = Arc::new(Sender { stranger: None, rights: Some(rights) });
        Access { sender: Some(sender), ..self.clone() }
    }

    /// The time for which the sender has these rights, if they end.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.rights().and_then(Rights::lasts)
    }

    /// True if the sender's identity may end before what it follows does.
    pub(crate) fn may_end(&self) -> bool {
        self.rights().is_some_and(Rights::may_end)
    }

    /// The reason why the sender's identity is over, if it is.
    pub(crate) fn ended(&self) -> Option<Kind> {
        self.rights()?.ended()
    }

    /// Refuses a credential in the query where it could be in a header.
    pub(crate) fn is_not_by_query(&self) -> Result<(), Problem> {
        match self.by_query {
            false => Ok(()),
            true => {
                let detail = "a credential in the query is for streams and sessions only";
                Err(Problem::new(Kind::BadParameter, detail)
                    .hint("send it as Authorization: Bearer TOKEN"))
            }
        }
    }
}
