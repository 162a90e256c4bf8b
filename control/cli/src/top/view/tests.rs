//! Screens as texts.

use weft_api::{Cause, Finding};
use weft_model::{ObjectKind, ObjectRef};

use super::*;
use crate::top::rates::tests::{activity, port};

/// A view of ports that received so many frames a second.
fn view(frames: &[(&str, u64)]) -> View {
    let before = frames.iter().map(|(name, _)| port(name, 0)).collect();
    let after = frames.iter().map(|(name, frames)| port(name, *frames));
    let rates = Rates::between(&activity(1.0, before), &activity(2.0, after.collect()));
    let mut view = View::new();
    view.show(rates.unwrap());
    view
}

fn texts(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let lines = view.screen(width, height);
    lines.iter().map(Line::text).collect()
}

/// The names in the table, from the top.
fn names(view: &mut View) -> Vec<String> {
    let lines = texts(view, 80, 24);
    let heading = lines.iter().position(|line| line.starts_with("PORT"));
    let rows = lines[heading.unwrap() + 1..lines.len() - 1].iter();
    let names = rows.filter_map(|line| line.split_ascii_whitespace().next());
    names.map(str::to_owned).collect()
}

fn press(view: &mut View, keys: &str) {
    for key in keys.chars() {
        assert_eq!(view.press(Key::Char(key)), After::Continue, "{key}");
    }
}

#[test]
fn a_screen_of_80_by_24_has_everything() {
    let mut view = view(&[("MyVM1", 1500), ("MyVM2", 0), ("eth1", 20_000_000)]);
    let rates = view.rates.as_mut().unwrap();
    rates.ports[1].flow.drops = [("ForgedTransmit".to_owned(), 12.0)].into();
    rates.ports[1].flow.drops_per_second = 12.0;
    rates.ports[2].state = PortState::Blocked;
    rates.total.drops_per_second = 12.0;
    let finding = Finding {
        object: ObjectRef::new(ObjectKind::Port, "MyVM2"),
        cause: Cause::Blocked,
        reason: "blocked by its administrator".to_owned(),
        next: String::new(),
    };
    rates.problems = FindingGroup::of(&[finding]);
    let expected = "\
weft top  host esxi01  up 2 s  every 1.0 s
rx 20.0M frames/s 16.0G bit/s   tx 40.0M frames/s 32.0G bit/s   drops 12/s
thread 0 core 2  busy  25.0%  asleep  50.0%  1.00k frames/s  250000 cycles/frame
wrong: port MyVM2: blocked by its administrator
PORT           RX FR/S RX BIT/S  TX FR/S TX BIT/S  DROPS/S WHY
eth1 (uplink)    20.0M    16.0G    40.0M    32.0G        0
MyVM1            1.50k    1.20M    3.00k    2.40M       12 ForgedTransmit
MyVM2                0        0        0        0        0 blocked";
    let lines = texts(&mut view, 80, 24);
    let shown: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown[..8].join("\n"), expected);
    assert_eq!(shown[8..23], [""; 15]);
    assert_eq!(
        shown[23],
        "q quit  < > sort  r reverse  / filter  space pause  arrows scroll"
    );
}

#[test]
fn no_size_is_exceeded() {
    let many: Vec<_> = (0..100).map(|number| format!("vm{number}")).collect();
    let mut frames: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 1)).collect();
    let longest = "x".repeat(80);
    frames.push((&longest, 7));
    let mut view = view(&frames);
    view.lost("no agent answers".to_owned());
    for (width, height) in [
        (0, 0),
        (1, 1),
        (20, 2),
        (40, 5),
        (80, 24),
        (80, 200),
        (300, 60),
    ] {
        let lines = view.screen(width, height);
        assert_eq!(lines.len(), usize::from(height), "{width}x{height}");
        let widest = lines.iter().map(|line| line.text().chars().count()).max();
        assert!(
            widest.unwrap_or_default() <= usize::from(width),
            "{width}x{height}: {widest:?}"
        );
    }
    let lines = texts(&mut view, 80, 24);
    assert!(lines[4].starts_with("PORT"), "{lines:#?}");
    assert!(lines[5].contains("xxx~"), "{lines:#?}");
}

#[test]
fn the_column_to_sort_by_is_chosen_and_reversed() {
    let mut view = view(&[("b", 1), ("a", 1), ("c", 9), ("eth1", 0)]);
    assert_eq!(names(&mut view), ["eth1", "c", "a", "b"], "most first");
    press(&mut view, "r");
    assert_eq!(names(&mut view), ["eth1", "b", "a", "c"]);
    press(&mut view, "r<");
    assert_eq!(view.sorted_by, Column::Name);
    assert_eq!(names(&mut view), ["eth1", "a", "b", "c"]);
    press(&mut view, "<");
    assert_eq!(view.sorted_by, Column::Drops);
    view.press(Key::Right);
    assert_eq!(view.sorted_by, Column::Name);
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut view = view(&[("web-1", 1), ("web-2", 2), ("db", 3), ("quiet", 0)]);
    press(&mut view, "/");
    press(&mut view, "WEBq");
    assert!(texts(&mut view, 80, 24)[23].starts_with("filter: WEBq_"));
    assert!(names(&mut view).is_empty());
    view.press(Key::Backspace);
    view.press(Key::Enter);
    assert_eq!(names(&mut view), ["web-2", "web-1"]);
    assert!(texts(&mut view, 80, 24)[23].starts_with("only 'WEB' (Esc: all)"));
    view.press(Key::Escape);
    assert_eq!(names(&mut view).len(), 4);
}

#[test]
fn thousands_of_ports_are_scrolled() {
    let names_of: Vec<_> = (0..4000).map(|number| format!("vm{number:04}")).collect();
    let frames: Vec<_> = names_of.iter().map(|name| (name.as_str(), 0)).collect();
    let mut view = view(&frames);
    let page = names(&mut view).len();
    assert_eq!(page, 19, "what the head, the heading and the foot leave");
    view.press(Key::PageDown);
    assert_eq!(names(&mut view)[0], "vm0019");
    view.press(Key::Down);
    assert_eq!(names(&mut view)[0], "vm0020");
    view.press(Key::End);
    assert_eq!(names(&mut view).last().unwrap(), "vm3999");
    view.press(Key::Down);
    assert_eq!(names(&mut view).last().unwrap(), "vm3999");
    view.press(Key::PageUp);
    view.press(Key::Home);
    assert_eq!(names(&mut view)[0], "vm0000");
}

#[test]
fn many_threads_leave_room_for_ports() {
    let mut view = view(&[("a", 1)]);
    let rates = view.rates.as_mut().unwrap();
    let thread = rates.threads[0].clone();
    let of = |index: usize| ThreadRates {
        index,
        busy_share: index as f64 / 64.0,
        ..thread.clone()
    };
    rates.threads = (0..64).map(of).collect();
    let lines = texts(&mut view, 80, 24);
    assert!(lines[2].starts_with("thread 63 "), "{lines:#?}");
    assert!(
        lines[6].starts_with("and 60 less busy threads"),
        "{lines:#?}"
    );
    assert!(lines[7].starts_with("PORT"), "{lines:#?}");
}

#[test]
fn an_agent_that_is_away_is_told_of_and_the_last_picture_stays() {
    let mut view = View::new();
    assert!(texts(&mut view, 80, 24)[0].contains("waiting for the first interval"));
    view.lost("no agent answers at /run/a.sock".to_owned());
    assert!(texts(&mut view, 80, 24)[1].contains("trying again: no agent answers at /run/a.sock"));
    let mut view = self::view(&[("a", 5)]);
    view.lost("no agent answers at /run/a.sock".to_owned());
    let lines = texts(&mut view, 80, 24);
    assert!(lines[3].contains("trying again"), "{lines:#?}");
    assert_eq!(names(&mut view), ["a"]);
    view.is_back();
    assert!(
        !texts(&mut view, 80, 24)
            .concat()
            .contains("no agent answers")
    );
}

#[test]
fn a_pause_and_the_end_are_keys() {
    let mut view = view(&[("a", 5)]);
    press(&mut view, " ");
    assert!(view.is_paused());
    assert!(texts(&mut view, 80, 24)[0].ends_with("paused"));
    press(&mut view, " ");
    assert!(!view.is_paused());
    assert_eq!(view.press(Key::Char('q')), After::Quit);
}

#[test]
fn rates_are_short() {
    let shown = [
        (0.0, "0"),
        (0.5, "0.5"),
        (9.99, "10"),
        (12.0, "12"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (1234.0, "1.23k"),
        (45_600_000.0, "45.6M"),
        (999_600.0, "1.00M"),
        (123_456_789_000.0, "123G"),
        (1e17, "100000T"),
    ];
    for (value, text) in shown {
        assert_eq!(rate(value), text);
    }
}

#[test]
fn a_text_has_every_port() {
    let names: Vec<_> = (0..200).map(|number| format!("vm{number}")).collect();
    let frames: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let text = text(view(&frames).rates.as_ref().unwrap());
    assert_eq!(text.lines().count(), 2 + 1 + 200);
}
