//! The promises in a world that fails on purpose, and the proof that this would be seen.

use test_support::simulator::{broken, play};

/// Seeds of this test; `cargo xtask simulate --seeds N` plays any number.
const SEEDS: u64 = 300;
/// Seeds within which a broken variant must be caught.
const SEEDS_FOR_A_VARIANT: u64 = 400;

#[test]
fn the_promises_hold_for_any_seed() {
    for seed in 0..SEEDS {
        let played = play(seed, broken::SOUND);
        if let Some(breach) = played.breach {
            panic!("seed {seed}: {breach}\n{}", played.trace.join("\n"));
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_step() {
    for seed in [3, 17, 4711] {
        let (first, second) = (play(seed, broken::SOUND), play(seed, broken::SOUND));
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn every_broken_variant_is_caught() {
    for variant in broken::ALL {
        let caught =
            (0..SEEDS_FOR_A_VARIANT).find_map(|seed| play(seed, variant).breach.map(|breach| (seed, breach)));
        let (seed, breach) = caught.unwrap_or_else(|| panic!("{} is not caught", variant.name));
        println!("{}: caught by seed {seed}: {breach}", variant.name);
    }
}
