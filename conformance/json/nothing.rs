//! Cargo wants a target; this package only fetches files.
