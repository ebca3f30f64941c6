//! Values of the tree, as conditions and orders ask for them.

use halfping_shape::{JsonText, Node, Str, Value as Kind};

use crate::tree::Value;
use crate::tree::key::{KeyId, Keys};

/// A value of the tree or, within an array, the text of one.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'t> {
    keys: &'t Keys,
    place: Place<'t>,
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Value(&'t Value),
    Text(JsonText<'t>),
}

impl<'t> Asked<'t> {
    pub(crate) fn new(keys: &'t Keys, value: &'t Value) -> Asked<'t> {
        let place = match value {
            Value::Leaf(text) => Place::Text(JsonText(text.as_str())),
            value => Place::Value(value),
        };
        Asked { keys, place }
    }

    fn text(self, text: JsonText<'t>) -> Asked<'t> {
        Asked { place: Place::Text(text), ..self }
    }
}

impl<'t> Node<'t> for Asked<'t> {
    type Name = KeyId;

    fn member(self, name: &KeyId) -> Option<Asked<'t>> {
        // A name that nobody has is that of no member.
        if *name == KeyId::NONE {
            return None;
        }
        match self.place {
            Place::Value(Value::Object(object)) => {
                let value = &object.slot(object.find(*name)?).value;
                value.is_live().then(|| Asked::new(self.keys, value))
            }
            Place::Value(_) => None,
            Place::Text(text) => {
                text.named(Str::plain(self.keys.name(*name))).map(|text| self.text(text))
            }
        }
    }

    fn named(self, name: Str<'_>) -> Option<Asked<'t>> {
        match self.place {
            Place::Value(_) => self.member(&self.keys.find(&name.to_text())?),
            Place::Text(text) => text.named(name).map(|text| self.text(text)),
        }
    }

    fn value(self) -> Kind<'t> {
        match self.place {
            Place::Value(_) => Kind::Object,
            Place::Text(text) => text.value(),
        }
    }

    fn size(self) -> usize {
        match self.place {
            Place::Value(Value::Object(object)) => object.live(),
            Place::Value(_) => 0,
            Place::Text(text) => text.size(),
        }
    }

    fn elements(self) -> impl Iterator<Item = Asked<'t>> {
        let text = match self.place {
            Place::Text(text) => Some(text),
            Place::Value(_) => None,
        };
        text.into_iter().flat_map(JsonText::elements).map(move |text| self.text(text))
    }

    fn members(self) -> impl Iterator<Item = (Str<'t>, Asked<'t>)> {
        let (text, slots) = match self.place {
            Place::Text(text) => (Some(text), [].as_slice()),
            Place::Value(Value::Object(object)) => (None, object.slots()),
            Place::Value(_) => (None, [].as_slice()),
        };
        let in_text = text.into_iter().flat_map(JsonText::members);
        let in_text = in_text.map(move |(name, text)| (name, self.text(text)));
        let live = slots.iter().filter(|member| member.value.is_live());
        let in_slots = live.map(move |member| {
            let name = Str::plain(self.keys.name(member.key));
            (name, Asked::new(self.keys, &member.value))
        });
        in_text.chain(in_slots)
    }

    fn bytes(self) -> usize {
        match self.place {
            Place::Value(_) => 0,
            Place::Text(text) => text.bytes(),
        }
    }
}
