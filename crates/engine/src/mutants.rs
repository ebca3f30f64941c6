//! Faults that the simulator plants in the engine, and in the library above it, to see that it finds
//! them. Without the feature `mutants` there are none, and asking costs nothing.

/// True if this fault is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: &str) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use planted::{is, plant};

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<&'static str> = const { Cell::new("") };
    }

    /// Plants this fault, and no other, in what runs on this thread; an empty name for none.
    pub fn plant(name: &'static str) {
        PLANTED.set(name);
    }

    /// True if this fault is planted.
    pub fn is(name: &str) -> bool {
        PLANTED.get() == name
    }
}
