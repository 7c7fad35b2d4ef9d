//! Random streams that depend on what they are for and on nothing else.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream for one purpose at one seed of a policy.
///
/// It never depends on model, arm, version, time or thread: so arms are paired, and the two models of a pair draw alike.
pub fn stream(policy_seed: u64, seed_index: u64, purpose: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("heirloom random stream v1");
    hasher.update(&policy_seed.to_le_bytes());
    hasher.update(&seed_index.to_le_bytes());
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::stream;

    #[test]
    fn streams_are_told_apart_by_purpose_and_seed_only() {
        let draw = |policy, seed, purpose| stream(policy, seed, purpose).next_u64();
        assert_eq!(draw(1, 2, "order"), draw(1, 2, "order"));
        assert_ne!(draw(1, 2, "order"), draw(1, 3, "order"));
        assert_ne!(draw(1, 2, "order"), draw(1, 2, "head"));
        assert_ne!(draw(1, 2, "order"), draw(2, 2, "order"));
    }
}
