//! Seals: cursors of those who may not see all, which tell them nothing of what others do.
//!
//! A cursor has the number of a commit, and with the numbers it would be told how much is written
//! where its reader sees nothing. So it is one block of AES over that number and the mark of what
//! the reader may see. Equal states have equal cursors; only the server reads them; and one that
//! came with other rights is as good as none.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use halfping_credentials::Digest;
use halfping_engine::Revision;

/// The cipher of a server, with the key that lasts as long as its store does.
pub(super) struct Seal(Aes128);

impl Seal {
    pub(super) fn new(key: [u8; 16]) -> Seal {
        Seal(Aes128::new(&key.into()))
    }

    /// The block of a state, for those whose rights have this mark.
    pub(super) fn close(&self, Revision(revision): Revision, mark: u64) -> [u8; 16] {
        let block = (u128::from(revision) << 64) | u128::from(mark);
        self.encrypt(block.to_be_bytes())
    }

    /// The state that a block names, if it was made for rights with this mark.
    pub(super) fn open(&self, block: [u8; 16], mark: u64) -> Option<Revision> {
        let mut block = block.into();
        self.0.decrypt_block(&mut block);
        let block = u128::from_be_bytes(block.into());
        // The upper half is the revision, and before the first there is no state.
        let revision = (block >> 64) as u64;
        (block as u64 == mark && revision > 0).then_some(Revision(revision))
    }

    /// The block of what is shown in an answer, which names no state: it changes exactly when that
    /// does.
    pub(super) fn of_content(&self, what: &str, content: Option<&[u8]>, mark: u64) -> [u8; 16] {
        let content = content.map(|content| Digest::of(content).hex());
        let all = Digest::of(format!("{mark:x} {content:?} {what}").as_bytes());
        let mut block = [0; 16];
        block.copy_from_slice(&all.bytes()[..16]);
        self.encrypt(block)
    }

    fn encrypt(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        block.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_with_its_own_key_and_mark_and_never_else() {
        // PROTOCOL I27
        let (seal, other) = (Seal::new([1; 16]), Seal::new([2; 16]));
        for revision in [1, 2, 1 << 40, u64::MAX].map(Revision) {
            let block = seal.close(revision, 7);
            assert_eq!(block, seal.close(revision, 7), "equal states have equal cursors");
            assert_eq!(seal.open(block, 7), Some(revision));
            assert_eq!(seal.open(block, 8), None);
            assert_eq!(other.open(block, 7), None);
            for bit in 0..128 {
                let forged = (u128::from_be_bytes(block) ^ (1 << bit)).to_be_bytes();
                assert_eq!(seal.open(forged, 7), None, "bit {bit}");
            }
        }
        assert_eq!(seal.open(seal.close(Revision::NONE, 7), 7), None);
    }

    #[test]
    fn a_block_of_content_differs_with_the_content_the_place_and_the_rights() {
        // PROTOCOL I28
        let seal = Seal::new([1; 16]);
        let block = seal.of_content("/a", Some(b"1"), 7);
        assert_eq!(block, seal.of_content("/a", Some(b"1"), 7));
        assert_ne!(block, seal.of_content("/a", Some(b"2"), 7));
        assert_ne!(block, seal.of_content("/b", Some(b"1"), 7));
        assert_ne!(block, seal.of_content("/a", Some(b"1"), 8));
        assert_ne!(block, seal.of_content("/a", None, 7));
        assert_eq!(seal.open(block, 7), None);
    }
}
