//! A list of things with names, each of which can be found by its name.

use crate::grow::Table;

/// Things up to which a scan is cheaper than a table.
const SCAN_MAX: usize = 8;

/// Things by their names, in the order in which they came. A few are a list and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct ByName<T> {
    entries: Vec<(Box<str>, T)>,
    /// Places in the list by name, once there are more than a scan is good for.
    places: Option<Box<Table>>,
}

impl<T> Default for ByName<T> {
    fn default() -> ByName<T> {
        ByName { entries: Vec::new(), places: None }
    }
}

fn name_at<T>(entries: &[(Box<str>, T)], place: u32) -> &str {
    &entries[place as usize].0
}

impl<T> ByName<T> {
    pub(crate) fn with_capacity(count: usize) -> ByName<T> {
        ByName { entries: Vec::with_capacity(count), places: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.places {
            Some(places) => {
                let place = places.get(name, |place| name_at(&self.entries, place));
                place.map(|place| place as usize)
            }
            None => self.entries.iter().position(|(known, _)| **known == *name),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.place(name).map(|place| &self.entries[place].1)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.place(name).map(|place| &mut self.entries[place].1)
    }

    /// Puts a thing at a name, and returns the one that was there.
    pub(crate) fn insert(&mut self, name: Box<str>, thing: T) -> Option<T> {
        match self.place(&name) {
            Some(place) => Some(std::mem::replace(&mut self.entries[place].1, thing)),
            None => {
                self.push(name, thing);
                None
            }
        }
    }

    /// The thing at a name; a new one if there was none.
    pub(crate) fn at(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        let place = self.place(name).unwrap_or_else(|| {
            self.push(name.into(), T::default());
            self.entries.len() - 1
        });
        &mut self.entries[place].1
    }

    fn push(&mut self, name: Box<str>, thing: T) {
        self.entries.push((name, thing));
        match &mut self.places {
            Some(places) => {
                let last = self.entries.len() as u32 - 1;
                places.insert(last, |place| name_at(&self.entries, place));
            }
            None => self.index(),
        }
    }

    /// Makes the table, if there are enough things for one.
    fn index(&mut self) {
        self.places = (self.entries.len() > SCAN_MAX).then(|| {
            let mut places = Table::with_capacity(self.entries.capacity());
            for place in 0..self.entries.len() as u32 {
                places.insert(place, |place| name_at(&self.entries, place));
            }
            Box::new(places)
        });
    }

    /// Keeps only the things that `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let before = self.entries.len();
        self.entries.retain_mut(|(_, thing)| keep(thing));
        if self.entries.len() < before {
            self.index();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, thing)| (&**name, thing))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| &**name)
    }

    pub(crate) fn things(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, thing)| thing)
    }
}

impl<T> IntoIterator for ByName<T> {
    type Item = (Box<str>, T);
    type IntoIter = std::vec::IntoIter<(Box<str>, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<T> FromIterator<(Box<str>, T)> for ByName<T> {
    fn from_iter<I: IntoIterator<Item = (Box<str>, T)>>(things: I) -> ByName<T> {
        let mut made = ByName::default();
        things.into_iter().for_each(|(name, thing)| drop(made.insert(name, thing)));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_found_by_name_and_kept_in_order_be_they_few_or_many() {
        for count in [SCAN_MAX, 50 * SCAN_MAX] {
            let mut things: ByName<usize> =
                (0..count).map(|number| (number.to_string().into(), number)).collect();
            assert_eq!(things.insert("1".into(), count), Some(1));
            assert_eq!((*things.at("new"), things.get("1")), (0, Some(&count)));
            *things.at("1") = 1;
            assert_eq!((things.len(), things.get("none")), (count + 1, None));

            things.retain(|number| *number % 3 == 2);
            for number in 0..count {
                let kept = (number % 3 == 2).then_some(number);
                assert_eq!(things.get(&number.to_string()).copied(), kept, "of {count}");
            }
            assert!(things.things().is_sorted());
            assert_eq!(things.names().count(), things.len());
        }
    }
}
