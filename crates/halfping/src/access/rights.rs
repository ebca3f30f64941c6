//! Rights of those who are told apart, as the door asks for them.

use std::sync::Arc;
use std::time::Duration;

use halfping_engine::{Cursor, Path};
use http::HeaderValue;

use super::{Access, Sender};
use crate::auth::{Rights, Standing};
use crate::mutants;
use crate::problem::{Kind, Problem};
use crate::shape::Extent;
use crate::tag::{self, Given};

impl Access {
    /// Identity, and what the rules allow it; `None` where nobody is told apart.
    pub(crate) fn rights(&self) -> Option<&Rights> {
        self.sender.as_ref()?.rights.as_ref()
    }

    /// True if rules say who may do what.
    pub(super) fn has_rules(&self) -> bool {
        self.rights().is_some_and(Rights::has_rules)
    }

    /// True if the sender may not see all, so that its cursors are sealed.
    pub(crate) fn is_partial(&self) -> bool {
        self.rights().is_some_and(Rights::are_partial)
    }

    /// The sender's rights, if they do not let it see all.
    pub(crate) fn partial(&self) -> Option<Rights> {
        self.rights().filter(|rights| rights.are_partial()).cloned()
    }

    /// A cursor as it is given to the sender.
    pub(crate) fn give(&self, cursor: Cursor) -> Given {
        self.rights().map_or(Given::Open(cursor), |rights| rights.give(cursor))
    }

    /// The cursor that the sender was given, if it was with the same rights.
    pub(crate) fn take(&self, given: Given) -> Option<Cursor> {
        self.rights().map_or_else(|| given.open(), |rights| rights.take(given))
    }

    /// The cursor of what the sender is shown of a resource. What it is not shown makes no
    /// difference: the cursor of a part, or of nothing, is one of the answer's content.
    pub(crate) fn give_shown(
        &self,
        path: &Path,
        extent: &Extent,
        cursor: Cursor,
        value: Option<&[u8]>,
    ) -> Given {
        let Some(rights) = self.rights().filter(|rights| rights.are_partial()) else {
            return Given::Open(cursor);
        };
        let is_all = !extent.is_in_sight() || mutants::is("etag-of-all");
        if value.is_some() && is_all {
            return rights.give(cursor);
        }
        // Nothing is the same wherever it is: hidden, or not there.
        let what =
            value.map(|_| (path, extent.depth, extent.view.as_ref().map(|view| view.text())));
        rights.give_content(cursor.epoch, &format!("{what:?}"), value)
    }

    /// An `ETag` as it is given to the sender; `None` if it is one already.
    pub(crate) fn give_tag(&self, tag: &HeaderValue) -> Option<HeaderValue> {
        let given = tag.to_str().ok().and_then(tag::cursor).filter(|_| self.is_partial())?;
        HeaderValue::from_str(&format!("\"{}\"", self.give(given.open()?))).ok()
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

    /// True if the sender's rights are what they were.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.standing(0), Standing::Same)
    }

    /// What has become of the sender's rights.
    pub(crate) fn standing(&self, timeout_ms: u64) -> Standing {
        self.rights().map_or(Standing::Same, |rights| rights.standing(timeout_ms))
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
