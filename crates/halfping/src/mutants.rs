//! Faults that the simulator plants in the library, to see that it finds them. Without the feature
//! `mutants` there are none, and asking costs nothing.

#[cfg(feature = "mutants")]
pub(crate) use halfping_engine::mutants::is;

/// True if this fault is planted.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: &str) -> bool {
    false
}
