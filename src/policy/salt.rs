//! The seed of all that is drawn once the images are chosen, and the operator's salt that keeps it from whoever knows the policy.
//!
//! A producer who knows every sham and both halves of the test images can try variants of a checkpoint until these flatter it. A salt is a secret of
//! whoever runs the policy. It decides with the policy's `seed` what is drawn; it is kept nowhere, nor is the seed that comes of it.

use std::env::VarError;
use std::fmt;

use super::{Options, PolicyFile};
use crate::diag::Diagnostic;
use crate::spec::Node;
use crate::store::{Digest, Fingerprint, sha256};

/// Fewest characters of a salt: the report holds what it is known by, and a short one could be found by trying.
const FEWEST: usize = 16;

/// Gives the value of an environment variable, as [`std::env::var`] does.
pub type ReadVariable = fn(&str) -> Result<String, VarError>;

/// The seed of shams, halves and fine-tunes. The images that train and test are chosen by the policy's own seed, salt or not: they are the task.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// A secret, where there is a salt.
    value: u64,
    salt: Salt,
}

#[derive(Clone, PartialEq, Eq)]
enum Salt {
    /// The policy asks for none.
    None,
    /// The policy asks for one, and only its form was wanted.
    Unread,
    /// What it is known by.
    Known(Digest),
}

impl Seed {
    /// The seed of a policy without a salt: its own.
    fn plain(seed: u64, salt: Salt) -> Self {
        Self { value: seed, salt }
    }

    /// The seed that a policy's and a salt come to: the first eight bytes, the least first, of a SHA-256 of both.
    fn salted(seed: u64, salt: &str) -> Self {
        let digest = sha256(&[b"heirloom salted seed v1".as_slice(), &seed.to_le_bytes(), salt.as_bytes()].concat());
        let value = digest.iter().take(size_of::<u64>()).rev().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        Self { value, salt: Salt::Known(salt.fingerprint("heirloom salt", 1)) }
    }

    /// Another seed, made of this one: for what must not be drawn alike.
    #[must_use]
    pub(crate) fn other(&self) -> Self {
        let digest = sha256(&[b"heirloom other seed v1".as_slice(), &self.value.to_le_bytes()].concat());
        let value = digest.iter().take(size_of::<u64>()).rev().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        Self { value, salt: self.salt.clone() }
    }

    /// The seed. No file, log or message may hold it.
    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    /// What the salt is known by, if there is one: equal salts have equal digests, and nothing leads back to the salt but trying.
    pub fn salt(&self) -> Option<&Digest> {
        match &self.salt {
            Salt::Known(digest) => Some(digest),
            Salt::None | Salt::Unread => None,
        }
    }

    /// Whether a salt is asked for that was not read: nothing may be run with such a policy.
    pub(crate) fn is_unread(&self) -> bool {
        self.salt == Salt::Unread
    }
}

/// Without the secret.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.salt {
            Salt::None => write!(f, "Seed({})", self.value),
            Salt::Unread => f.write_str("Seed(of a salt that was not read)"),
            Salt::Known(digest) => write!(f, "Seed(of the salt {})", digest.short()),
        }
    }
}

/// The seed of a policy whose text is `tree`. What is wrong with its salt is added to `diagnostics`, never with any part of it.
pub(super) fn seed(file: &PolicyFile, tree: &Node, options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Seed {
    let Some(name) = &file.salt_env else { return Seed::plain(file.seed, Salt::None) };
    let unread = Seed::plain(file.seed, Salt::Unread);
    let Some(read) = options.salt else { return unread };
    let value = read(name);
    // A secret that was pasted has blanks and a line's end around it.
    let wrong = match value.as_deref().map(str::trim) {
        Ok(salt) if salt.chars().count() >= FEWEST => return Seed::salted(file.seed, salt),
        Ok("") => "is empty".to_owned(),
        Ok(_) => format!("has fewer than {FEWEST} characters"),
        Err(VarError::NotPresent) => "is not set".to_owned(),
        Err(VarError::NotUnicode(_)) => "is no text (UTF-8)".to_owned(),
    };
    let message = format!("`salt_env` names the environment variable {name}, which {wrong}");
    let hint = format!(
        "set it to the secret that this policy is run with, of at least {FEWEST} characters; `openssl rand -hex 16` makes one (docs/ci.md)"
    );
    diagnostics.push(Diagnostic::error("policy::salt", tree.place_of_value("/salt_env"), message).hint(hint));
    unread
}

#[cfg(test)]
mod tests {
    use super::{Salt, Seed};
    use crate::store::golden;

    #[test]
    fn policy_and_salt_decide_and_neither_is_shown() {
        let one = Seed::salted(3, "0123456789abcdef");
        assert_eq!(one, Seed::salted(3, "0123456789abcdef"));
        let bytes = format!("{:016x}", one.value().swap_bytes());
        assert!(golden("salted seed").starts_with(&bytes), "{bytes}");
        let (other, elsewhere) = (Seed::salted(3, "0123456789abcdeg"), Seed::salted(4, "0123456789abcdef"));
        assert!(one.value() != other.value() && one.salt() != other.salt());
        assert!(one.value() != elsewhere.value() && one.salt() == elsewhere.salt());
        let shown = format!("{one:?}");
        assert!(!shown.contains("0123456789abcdef") && !shown.contains(&one.value().to_string()), "{shown}");
        assert_eq!(Seed::plain(3, Salt::None).value(), 3);
    }
}
