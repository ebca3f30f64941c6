//! JSON Patch documents: `Patch::parse` compared with the crate `json-patch`.

use halfping_engine::{Limits, Patch, PatchError};

use crate::tree::Tree;

/// The array and the objects around the values of a patch.
const AROUND_VALUES: usize = 2;

pub fn patch_document(data: &[u8]) {
    let limits = Limits::default().with(|limits| {
        limits.json_depth = 4;
        limits.members_per_object = 6;
        limits.key_bytes = 9;
        limits.path_depth = 4;
    });
    let tree = Tree::read(data).filter(|tree| {
        tree.depth() <= limits.json_depth + AROUND_VALUES
            && tree.fits(limits.members_per_object, limits.key_bytes)
    });
    let theirs = serde_json::from_slice::<json_patch::Patch>(data);
    match Patch::parse(data, &limits) {
        Ok(patch) => {
            assert!(tree.is_some(), "accepted, and is no body that is accepted: {patch:?}");
            let theirs = theirs.unwrap_or_else(|error| panic!("{error}: {patch:?}"));
            for operation in &theirs.0 {
                assert!(fits(operation.path(), &limits), "too long: {operation}");
            }
        }
        Err(PatchError::Json(error)) => assert!(tree.is_none(), "{error}: {tree:?}"),
        Err(PatchError::NotAList(_)) => {
            assert!(!matches!(tree, None | Some(Tree::Array(_))), "{tree:?}");
        }
        Err(PatchError::Operation { index, why }) => {
            let Some(Tree::Array(operations)) = &tree else { panic!("{why}: {tree:?}") };
            assert!(index < operations.len(), "there is no operation {index}");
            assert!(theirs.is_err(), "operation {index}: {why}: {theirs:?}");
        }
        Err(PatchError::Limit { index, limit, .. }) => {
            let Some(Tree::Array(operations)) = &tree else { panic!("{limit}: {tree:?}") };
            let Some(Tree::Object(members)) = operations.get(index) else {
                panic!("no operation {index}")
            };
            let too_long = members.iter().any(|(name, value)| {
                let Tree::String(text) = value else { return false };
                matches!(name.as_str(), "path" | "from") && !fits(text, &limits)
            });
            assert!(too_long, "{limit}: {members:?}");
        }
        Err(error) => panic!("an error that is not known here: {error}"),
    }
}

/// True if a JSON Pointer is within the bounds of paths.
fn fits(pointer: impl ToString, limits: &Limits) -> bool {
    let pointer = pointer.to_string();
    let tokens: Vec<&str> = pointer.split('/').skip(1).collect();
    let bytes = |token: &str| token.replace("~1", "/").replace("~0", "~").len();
    tokens.len() <= limits.path_depth && tokens.iter().all(|token| bytes(token) <= limits.key_bytes)
}
