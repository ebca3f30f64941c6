//! The views that readers look through.
//!
//! A view is a place, beside those of the members of its collection: links stand in it as in any
//! other. A commit asks the views of a [collection](crate::read::collection) about each member that
//! it changes, before and after, and touches those that show it.

use halfping_shape::{Names, Selected, Selection};
use hashbrown::HashMap;

use crate::cursor::Revision;
use crate::grow::Table;
use crate::limits::Limits;
use crate::read::beneath::Beneath;
use crate::read::collection::{Collection, LensId};
use crate::read::count::Count;
use crate::read::interest::PointId;
use crate::read::leavers::LeftMax;
use crate::read::lens::Lens;
use crate::read::outlook::Outlook;
use crate::read::part::Part;
use crate::read::ranking::Totals;
use crate::read::rows::Rows;
use crate::read::shared::{Shared, Takes};
use crate::read::view::View;
use crate::tree::key::{KeyId, Keys};
use crate::tree::text::Text;
use crate::tree::{Object, Value};

/// Views that are kept at a time for who comes back.
const LINGERING_MAX: usize = 1024;

/// All views that somebody looks through, or may do so again.
pub(crate) struct Views {
    /// Views by their own places.
    views: HashMap<PointId, Box<Placed>>,
    /// Those of them that show what a reader may see of something, by their own places.
    scoped: HashMap<PointId, Box<Scoped>>,
    /// Their places, by the place of the resource and the view's text.
    places: Table,
    /// Resources that have views, by their places.
    collections: HashMap<PointId, Collection>,
    totals: Totals,
    /// The number of members of what has none.
    zero: Value,
}

/// A view at a resource.
struct Placed {
    base: PointId,
    text: Box<str>,
    /// Its lens, and what it takes of that; `None` for parts of the resource itself.
    takes: Option<(LensId, Takes)>,
    selection: Option<Box<Selection<KeyId>>>,
    is_list: bool,
}

const _: () = assert!(std::mem::size_of::<Placed>() == 56);

/// A view of what a reader may see.
struct Scoped {
    outlook: Outlook,
    /// The names that lead there in the resource. If there are any, the view's lens shows the
    /// member that the first of them names.
    of: Box<[KeyId]>,
    /// The places of views through whose lenses it knows what left, besides its own, by the numbers
    /// of these.
    lenses: Vec<PointId>,
}

/// The place of a view's resource, and the view's text.
fn key_of(views: &HashMap<PointId, Box<Placed>>, place: PointId) -> Option<(PointId, &str)> {
    views.get(&place).map(|view| (view.base, &*view.text))
}

/// Gives back the names of a selection, which its view held.
fn release(keys: &mut Keys, names: &Names<KeyId>) {
    for (name, selected) in names.iter() {
        keys.release(*name);
        if let Selected::Part(names) = selected {
            release(keys, names);
        }
    }
}

/// The value that a view shows.
pub(crate) enum Shows<'v> {
    /// A part of the resource.
    Part(Part<'v>),
    /// The number of its members, with the revision at which it became that.
    Number(&'v Value, Revision),
    /// The part of the resource that a reader may see.
    Scope(&'v Outlook),
    /// The part that a reader may see of what stands at these names in the resource.
    Beneath(&'v Outlook, &'v [KeyId], Beneath<'v>),
    /// Nothing: it would need more rows than there is room for.
    TooLarge,
}

impl Views {
    pub(crate) fn new(limits: &Limits) -> Views {
        let Limits { tombstones_per_object: each, tombstones: all, view_rows, .. } = *limits;
        let left_max = LeftMax { each, all };
        Views {
            views: HashMap::new(),
            scoped: HashMap::new(),
            places: Table::default(),
            collections: HashMap::new(),
            totals: Totals { left_max, rows_max: view_rows, ..Totals::default() },
            zero: Value::Leaf(Text::new("0")),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Views that somebody looks through.
    pub(crate) fn len(&self) -> usize {
        self.views.len() - self.totals.room.lingering
    }

    /// Rows of all rankings.
    pub(crate) fn rows(&self) -> usize {
        self.totals.rows
    }

    /// The text of the view at a place. `None` if it is no view.
    pub(crate) fn text(&self, place: PointId) -> Option<&str> {
        self.views.get(&place).map(|view| &*view.text)
    }

    /// True if a view of the resource at a place would be one more condition that every member has
    /// to be asked about, or order that it has to be put into, beyond `max`.
    pub(crate) fn is_too_much(
        &self,
        keys: &Keys,
        base: Option<PointId>,
        view: &View,
        max: usize,
    ) -> bool {
        let collection = base.and_then(|base| self.collections.get(&base));
        let (there, more) = match collection {
            Some(collection) => (collection.unindexed(), collection.adds_unindexed(keys, view)),
            None => (0, Collection::default().adds_unindexed(keys, view)),
        };
        more > 0 && there + more > max
    }

    /// The place of a view of the resource at a place.
    pub(crate) fn find(&self, base: PointId, view: &View) -> Option<PointId> {
        self.places.get(Some((base, view.text())), |place| key_of(&self.views, place))
    }

    /// Adds a view of a value, which changed at the revision `known`. It stands at a place of its
    /// own. `since`: the state from which its first reader goes on.
    pub(crate) fn add(
        &mut self,
        keys: &mut Keys,
        (base, place): (PointId, PointId),
        view: &View,
        (value, known): (Option<&Value>, Revision),
        since: Revision,
    ) {
        let selection = view.selection(|name| keys.hold(name)).map(Box::new);
        let collection = self.collections.entry(base).or_default();
        if let Some(Value::Object(object)) = value {
            collection.know(keys, object, &mut self.totals);
        }
        let takes = match view.is_of_resource() {
            true => {
                collection.plain.push(place);
                None
            }
            false => Some(collection.add(keys, place, view, (since, known), &mut self.totals)),
        };
        if view.scope().is_some() || !view.of().is_empty() {
            let mut hold = |name: &str| keys.hold(name);
            let of = view.of().iter().map(|name| hold(name)).collect();
            let outlook = view.scope().map_or(Outlook::All, |scope| Outlook::new(scope, hold));
            self.scoped.insert(place, Box::new(Scoped { outlook, of, lenses: Vec::new() }));
        }
        let (text, is_list) = (view.text().into(), view.is_list());
        self.views.insert(place, Box::new(Placed { base, text, takes, selection, is_list }));
        self.places.insert(place, |place| key_of(&self.views, place));
    }

    /// Gives a view the places of views whose lenses it uses besides its own.
    pub(crate) fn give_lenses(&mut self, place: PointId, lenses: Vec<PointId>) {
        if let Some(scoped) = self.scoped.get_mut(&place) {
            scoped.lenses = lenses;
        }
    }

    /// The places of views whose lenses the view at a place uses besides its own.
    pub(crate) fn lenses_of(&self, place: PointId) -> &[PointId] {
        self.scoped.get(&place).map_or(&[], |scoped| &scoped.lenses)
    }

    /// The lenses through which the view at a place knows what left, by their numbers: its own, if
    /// it has one and shows its members, then those of the views that it uses.
    pub(crate) fn lenses(&self, place: PointId) -> Vec<Option<&Lens>> {
        let Some(scoped) = self.scoped.get(&place) else { return Vec::new() };
        let own = scoped.of.is_empty().then(|| self.lens_at(place)).flatten();
        let used = scoped.lenses.iter().map(|place| self.lens_at(*place));
        own.map(Some).into_iter().chain(used).collect()
    }

    /// The lens of the view at a place, if it has one.
    fn lens_at(&self, place: PointId) -> Option<&Lens> {
        let view = self.views.get(&place)?;
        let shared = self.collections.get(&view.base)?.lens(view.takes?.0)?;
        Some(&shared.lens)
    }

    /// Removes the view at a place. Returns its text, and the places of the views that it used.
    pub(crate) fn remove(
        &mut self,
        keys: &mut Keys,
        place: PointId,
    ) -> Option<(Box<str>, Vec<PointId>)> {
        self.places.remove(place, |place| key_of(&self.views, place));
        let view = *self.views.remove(&place)?;
        let scoped = self.scoped.remove(&place);
        if let Some(scoped) = &scoped {
            scoped.outlook.release(keys);
            scoped.of.iter().for_each(|name| keys.release(*name));
        }
        view.selection.iter().for_each(|held| release(keys, held.top()));
        if let Some(collection) = self.collections.get_mut(&view.base) {
            collection.plain.retain(|other| *other != place);
            if let Some(takes) = view.takes {
                collection.end(keys, place, takes, &mut self.totals);
            }
            if collection.is_empty() {
                self.collections.remove(&view.base);
            }
        }
        Some((view.text, scoped.map(|scoped| scoped.lenses).unwrap_or_default()))
    }

    /// Goes on learning what a view needs to know of the members of its resource, in so many looks.
    /// `known`: the last revision at which something changed there. Returns the looks that are
    /// left, and true if it is all known.
    pub(crate) fn learn(
        &mut self,
        keys: &mut Keys,
        place: PointId,
        (value, known): (Option<&Value>, Revision),
        looks: usize,
    ) -> (usize, bool) {
        let (Some(Value::Object(object)), Some(view)) = (value, self.views.get(&place)) else {
            return (looks, true);
        };
        match (view.takes, self.collections.get_mut(&view.base)) {
            (Some(takes), Some(collection)) => {
                collection.learn(keys, takes, (object, known), looks, &mut self.totals)
            }
            _ => (looks, true),
        }
    }

    /// The value that the view at a place shows of its resource, which changed at the revision
    /// `known`. `None` if it is no view.
    pub(crate) fn shows<'v>(
        &'v self,
        keys: &Keys,
        place: PointId,
        (value, known): (&'v Value, Revision),
    ) -> Option<Shows<'v>> {
        let Placed { base, takes, selection, is_list, .. } = &**self.views.get(&place)?;
        if let Some(Scoped { outlook, of, .. }) = self.scoped.get(&place).map(|scoped| &**scoped) {
            let Some((lens, _)) = takes.filter(|_| !of.is_empty()) else {
                return Some(Shows::Scope(outlook));
            };
            let shared = self.collections.get(base).and_then(|c| c.lens(lens));
            let (Value::Object(object), Some(Shared { lens, .. })) = (value, shared) else {
                let nothing = Beneath { value: None, changed: known, came: Revision::NONE };
                return Some(Shows::Beneath(outlook, of, nothing));
            };
            let left = || {
                let left = of.first().and_then(|name| lens.left.of(*name));
                left.unwrap_or(lens.left.floor).max(object.born)
            };
            let beneath = Beneath::find(keys, object, of, &lens.test, left);
            return Some(Shows::Beneath(outlook, of, beneath));
        }
        let names = selection.as_deref().map(Selection::top);
        let nothing = || Shows::Part(Part::of_chosen(&[], names, *is_list));
        let (Some((lens, takes)), Some(collection)) = (*takes, self.collections.get(base)) else {
            return Some(Shows::Part(Part::of_resource(names)));
        };
        let object = match value {
            Value::Object(object) => object,
            _ if matches!(takes, Takes::Count) => return Some(Shows::Number(&self.zero, known)),
            _ => return Some(nothing()),
        };
        let Some(shared) = collection.lens(lens) else { return Some(nothing()) };
        Some(match takes {
            Takes::Members => Shows::Part(Part::through(&shared.lens, names, object)),
            Takes::First(ranking, limit) => match shared.ranking(ranking) {
                Some(ranking) if ranking.is_too_large() => Shows::TooLarge,
                ranking => match ranking.and_then(|ranking| ranking.shown(limit)) {
                    Some(shown) => Shows::Part(Part::first(shown, names, object, *is_list)),
                    None => nothing(),
                },
            },
            Takes::Count => match shared.count().and_then(Count::value) {
                Some((number, changed)) => Shows::Number(number, changed),
                None => nothing(),
            },
        })
    }

    /// Keeps the view at a place, through which nobody looks any more, for who comes back. False if
    /// it is not to be kept.
    pub(crate) fn linger(&mut self, place: PointId) -> bool {
        let Some(view) = self.views.get(&place) else { return false };
        let Placed { base, takes: Some(takes), .. } = &**view else { return false };
        let collection = self.collections.get_mut(base);
        let lingers = self.totals.room.lingering < LINGERING_MAX
            && collection.is_some_and(|collection| collection.linger(place, *takes));
        self.totals.room.lingering += usize::from(lingers);
        lingers
    }

    /// Prepares the view at a place for one more reader.
    pub(crate) fn join(&mut self, keys: &mut Keys, place: PointId) {
        if let Some(view) = self.views.get(&place)
            && let Placed { base, takes: Some(takes), .. } = &**view
            && let Some(collection) = self.collections.get_mut(base)
        {
            collection.join(keys, *takes, &mut self.totals);
        }
    }

    /// Uses the view at a place again. False if somebody looks through it.
    pub(crate) fn resume(&mut self, place: PointId) -> bool {
        let Some(view) = self.views.get(&place) else { return false };
        let collection = self.collections.get_mut(&view.base);
        let lingered = collection.is_some_and(|collection| collection.resume(place));
        self.totals.room.lingering -= usize::from(lingered);
        lingered
    }

    /// Memory of rankings that are no longer needed, to be dropped where nobody waits.
    pub(crate) fn take_husks(&mut self) -> Vec<Rows> {
        std::mem::take(&mut self.totals.husks)
    }

    /// The number of views through which nobody looks any more.
    pub(crate) fn lingering(&self) -> usize {
        self.totals.room.lingering
    }

    /// Views that are to go: those that have lingered long enough, or all that linger.
    pub(crate) fn overdue(&mut self, all: bool) -> Vec<PointId> {
        let is_overdue = std::mem::take(&mut self.totals.is_overdue);
        let all = std::mem::take(&mut self.totals.room.is_wanted) || all;
        if !all && !is_overdue {
            return Vec::new();
        }
        let collections = self.collections.values();
        match all {
            true => collections.flat_map(Collection::lingering).collect(),
            false => collections.flat_map(Collection::overdue).collect(),
        }
    }

    /// Begins a call that changes the state, in which views may take so many looks. Beyond that
    /// nobody is asked, and readers get their views whole.
    pub(crate) fn begin(&mut self, looks: usize) {
        self.totals.looks = looks;
    }

    /// Looks at a member before it is changed. Returns the place if views have to look at it
    /// afterwards.
    pub(crate) fn before(
        &mut self,
        base: PointId,
        keys: &Keys,
        member: (&Object, usize),
        at: Revision,
    ) -> Option<PointId> {
        let collection = self.collections.get_mut(&base)?;
        collection.before(keys, member, at, &mut self.totals).then_some(base)
    }

    /// Looks at a member that has come to be.
    pub(crate) fn come(
        &mut self,
        base: PointId,
        keys: &mut Keys,
        object: &Object,
        at: Revision,
        touched: &mut Vec<PointId>,
    ) {
        let Some(collection) = self.collections.get_mut(&base) else { return };
        if collection.begin_change(at) {
            let slot = object.slots().len() - 1;
            collection.after(keys, (object, slot), at, &mut self.totals, touched);
        }
    }

    /// Looks at a member after it was changed. The places of views that showed it or show it now
    /// are touched.
    pub(crate) fn after(
        &mut self,
        base: PointId,
        keys: &mut Keys,
        member: (&Object, usize),
        at: Revision,
        touched: &mut Vec<PointId>,
    ) {
        if let Some(collection) = self.collections.get_mut(&base) {
            collection.after(keys, member, at, &mut self.totals, touched);
        }
    }

    /// Touches the views of parts of a resource in which something changed.
    pub(crate) fn touch_plain(&self, base: PointId, touched: &mut Vec<PointId>) {
        touched.extend(self.collections.get(&base).into_iter().flat_map(|c| &c.plain));
    }

    /// Conditions that every member has to be asked about, and orders that it has to be put into,
    /// in all collections.
    pub(crate) fn unindexed(&self) -> usize {
        self.collections.values().map(Collection::unindexed).sum()
    }
}
