//! `weft lab demo`, and that nothing of it stays, whenever it is cut short.
#![forbid(unsafe_code)]

use std::time::Duration;

use weft_tests::{Machine, Random, rounds};

/// Lines of the demonstration, in their order; between each two it makes or does something.
const MOMENTS: [&str; 6] = [
    "An isolated standard switch",
    "weft lab up",
    "1. ",
    "ping -n",
    "2. ",
    "tcpdump",
];

#[test]
fn the_demo_shows_promiscuous_mode_and_leaves_nothing() {
    let machine = Machine::new();
    let said = machine.weft("lab demo").succeeds();
    for (number, seen) in (1..).zip([0, 5, 0, 5]) {
        let line = format!("MyVM2 saw {seen} requests and {seen} replies");
        let step = said.split(&format!("\n{number}. ")).nth(1);
        let step = step.unwrap_or_else(|| panic!("step {number} is missing: {said}"));
        let first = step.lines().find(|line| line.contains("MyVM2 saw"));
        let first = first.unwrap_or_else(|| panic!("step {number} has no evidence: {said}"));
        assert!(first.contains(&line), "step {number}: {first}");
    }
    machine.is_clean("after the demo");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let machine = Machine::new();
    for moment in MOMENTS {
        for signal in ["INT", "TERM"] {
            let mut demo = machine.starts("lab demo");
            demo.reaches(moment);
            machine.signals(&demo, signal);
            let (code, said) = demo.ends();
            assert_eq!(code, Some(1), "{signal} at {moment:?}: {said}");
            machine.is_clean(&format!("{signal} at {moment:?}"));
        }
    }
}

#[test]
fn a_demo_that_ends_before_its_first_line_leaves_nothing() {
    let machine = Machine::new();
    let mut random = Random::new();
    for _ in 0..rounds(10) {
        for signal in ["INT", "KILL"] {
            let demo = machine.starts("lab demo");
            std::thread::sleep(Duration::from_millis(random.below(150) as u64));
            machine.signals(&demo, signal);
            let (code, said) = demo.ends();
            assert_ne!(code, Some(0), "{signal}: {said}");
            if signal == "KILL" {
                machine.weft("lab down").succeeds();
            }
            machine.is_clean(&format!("{signal} after: {said}"));
        }
    }
}

#[test]
fn a_killed_demo_is_removed_by_lab_down() {
    let machine = Machine::new();
    for moment in MOMENTS {
        let mut demo = machine.starts("lab demo");
        demo.reaches(moment);
        machine.signals(&demo, "KILL");
        demo.ends();
        assert_ne!(
            machine.leftovers(),
            [""; 0],
            "nothing was there yet at {moment:?}"
        );
        machine.weft("lab down").succeeds();
        machine.is_clean(&format!("killed at {moment:?}"));
    }
}

#[test]
fn the_next_demo_removes_what_a_killed_one_left() {
    let machine = Machine::new();
    let mut demo = machine.starts("lab demo");
    demo.reaches("2. ");
    machine.signals(&demo, "KILL");
    demo.ends();
    let said = machine.weft("lab demo").succeeds();
    assert!(said.contains("removing what it left"), "{said}");
    machine.is_clean("after the demo");
}
