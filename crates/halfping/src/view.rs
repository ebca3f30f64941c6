//! Views as a Rust program asks for them: parts of a resource, in an order, or counted.

use serde::de::DeserializeOwned;

use crate::api::{Api, Watch};
use crate::commit::Reading;
use crate::error::{Error, of_view};
use crate::shape::Shape;

/// A part of a resource: the members for which a condition is true, the first of them in an order,
/// and what is selected of them. It is read and watched as the resource itself is.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use halfping::{Api, Options};
/// use serde_json::{Value, json};
///
/// let api = Api::new(Options::default());
/// let bus = json!({ "line": "7", "speed": 62, "driver": { "name": "Ada", "age": 36 } });
/// api.put("/vehicles", &json!({ "1": bus, "2": { "line": "7", "speed": 20 } })).await?;
///
/// let fast = api.view("/vehicles").filter("speed > 50")?.select("line,driver(name)")?;
/// let shown = json!({ "1": { "line": "7", "driver": { "name": "Ada" } } });
/// assert_eq!(fast.get::<Value>()?, Some(shown.clone()));
///
/// let mut fast = fast.watch::<Value>()?;
/// assert_eq!(fast.next().await?, Some(shown));
/// api.put("/vehicles/1/speed", &30).await?;
/// assert_eq!(fast.next().await?, Some(json!({})));
///
/// let fastest = api.view("/vehicles").order("-speed")?.limit(1)?.select("line")?;
/// // What it is ordered by is selected as well.
/// let shown = json!({ "1": { "line": "7", "speed": 30 } });
/// assert_eq!(fastest.get::<Value>()?, Some(shown.clone()));
/// assert_eq!(fastest.list().get::<Value>()?, Some(json!([["1", shown["1"]]])));
///
/// let mut moving = api.view("/vehicles").filter("speed > 0")?.count().watch::<u64>()?;
/// assert_eq!(moving.next().await?, Some(2));
/// api.put("/vehicles/2/speed", &0).await?;
/// assert_eq!(moving.next().await?, Some(1));
///
/// let error = api.view("/vehicles").filter("speed = 50").err().unwrap();
/// assert!(error.to_string().contains("write `==`"), "{error}");
/// # Ok::<(), halfping::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct View {
    api: Api,
    path: String,
    shape: Shape,
}

impl Api {
    /// A part of a resource: some of its members, or some of each. A path that is none is refused
    /// where the view is read.
    pub fn view(&self, path: &str) -> View {
        View { api: self.clone(), path: path.to_owned(), shape: Shape::default() }
    }
}

impl View {
    /// The members of these for which a condition is true, as `where` has it in a URL: a subset of
    /// CEL. An empty text is none.
    pub fn filter(mut self, condition: &str) -> Result<View, Error> {
        self.shape.filter(condition, &self.api.shared().limits).map_err(of_view)?;
        Ok(self)
    }

    /// Of each member only what is selected, as `select` has it in a URL: `line,driver(name)`. With
    /// slashes, `/line,/speed`, it is the resource itself of which members are selected.
    /// An empty text selects everything.
    pub fn select(mut self, selection: &str) -> Result<View, Error> {
        self.shape.select(selection, &self.api.shared().limits).map_err(of_view)?;
        Ok(self)
    }

    /// The members in this order, as `order` has it in a URL: `-speed,line`, `-` for descending.
    /// It is for [`limit`](View::limit) and [`list`](View::list). An empty text is none.
    pub fn order(mut self, order: &str) -> Result<View, Error> {
        self.shape.order(order, &self.api.shared().limits).map_err(of_view)?;
        Ok(self)
    }

    /// Only so many members, the first in order; without an order, by name. At most as many as
    /// [`Limits::window_members`](crate::Limits::window_members).
    pub fn limit(mut self, members: usize) -> Result<View, Error> {
        self.shape.limit(members, &self.api.shared().limits).map_err(of_view)?;
        Ok(self)
    }

    /// The number of members, in place of the members: the value is a number.
    #[must_use]
    pub fn count(mut self) -> View {
        self.shape.count();
        self
    }

    /// The names and members as a list of pairs in order, in place of an object: the value is a
    /// `Vec<(String, T)>`.
    #[must_use]
    pub fn list(mut self) -> View {
        self.shape.list();
        self
    }

    /// The value of the view; `None` when nothing is at its path.
    pub fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        Ok(self.read()?.value)
    }

    /// The value of the view with the cursor of the resource, for a write that depends on it
    /// ([`Commit::if_unchanged`](crate::Commit::if_unchanged)).
    pub fn read<T: DeserializeOwned>(&self) -> Result<Reading<T>, Error> {
        self.api.read_in(&self.path, &self.shape)
    }

    /// Follows the view, whether or not anything is there yet.
    pub fn watch<T: DeserializeOwned>(&self) -> Result<Watch<T>, Error> {
        self.api.watch_in(&self.path, &self.shape)
    }
}
