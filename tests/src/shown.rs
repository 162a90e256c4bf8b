//! Whether what was printed is what a document shows.

/// Columns of a table that count something, or name processes.
const COUNTING: [&str; 6] = [
    "RX FRAMES",
    "COUNT",
    "CYCLES/FRAME",
    "AGENT",
    "OCTETS",
    "MESSAGES",
];

/// Words before a number that is another each time.
const NUMBERED: [&str; 5] = ["process", "id", "up", "receiveq1:", "transmitq1:"];

/// Lines without what differs by nature: addresses that the kernel makes up, times, durations, processes, padding. A counter
/// is `0` or `N`, a loss of packets `0%`, `100%` or `P%`.
pub fn normalised<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut counts = false;
    lines
        .into_iter()
        .map(|line| {
            counts &= !line.trim().is_empty();
            counts |= COUNTING.iter().any(|heading| line.contains(heading));
            line_normalised(line, counts)
        })
        .collect()
}

fn line_normalised(line: &str, counts: bool) -> String {
    // Depends on how many huge pages of the machine are free.
    for key in ["memory:", "\"hugePages\":"] {
        if line.trim().starts_with(key) {
            return key.to_owned();
        }
    }
    let pinged = line.contains(" packets transmitted, ");
    let mut before = "";
    let words = line.split_ascii_whitespace().map(|word| {
        let word_before = std::mem::replace(&mut before, word);
        let bare = word.trim_matches(|char: char| "(),:;\"".contains(char));
        let counts = counts || (pinged && word_before == "transmitted,");
        let numbered = NUMBERED.contains(&word_before.trim_start_matches('('));
        match placeholder(bare, counts, numbered) {
            Some(placeholder) => word.replace(bare, &placeholder),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What stands for a word that differs by nature.
fn placeholder(word: &str, counts: bool, numbered: bool) -> Option<String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| digits(&text.replacen('.', "", 1));
    if let Some((key, value)) = word.split_once('=') {
        let value = placeholder(value, counts, key == "time" && number(value))?;
        return Some(format!("{key}={value}"));
    }
    let found = if is_mac(word) {
        "MAC"
    } else if is_time(word) {
        "TIME"
    } else if number(word.trim_end_matches("ms")) && word.ends_with("ms") {
        "DURATION"
    } else if word.contains('/')
        && word.split('/').all(number)
        && word.contains('.')
        && word.split('/').count() == 4
    {
        // ping's rtt min/avg/max/mdev, not an address with its prefix length.
        "DURATIONS"
    } else if word.strip_suffix('%').is_some_and(number) && !["0%", "100%"].contains(&word) {
        "P%"
    } else if number(word) && (numbered || (counts && word != "0")) {
        "N"
    } else {
        return None;
    };
    Some(found.to_owned())
}

fn is_mac(word: &str) -> bool {
    let octets: Vec<&str> = word.split(':').collect();
    let octet = |text: &&str| text.len() == 2 && u8::from_str_radix(text, 16).is_ok();
    octets.len() == 6 && octets.iter().all(octet)
}

/// `21:24:59.456750`, also behind a date; behind one also `21:24:59Z`.
fn is_time(word: &str) -> bool {
    let time = word.rsplit('T').next().unwrap_or(word);
    let is_dated = time.len() < word.len();
    let parts: Vec<&str> = time.trim_end_matches('Z').split([':', '.']).collect();
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = match parts.len() {
        4 => time.len() >= 15,
        3 => is_dated && time.len() == "21:24:59Z".len(),
        _ => false,
    };
    is_whole && parts.iter().all(digits)
}

/// Whether lines are those shown, where `...` stands for any number of lines.
pub fn matches(shown: &[String], real: &[String]) -> bool {
    match shown.split_first() {
        None => real.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=real.len()).any(|skipped| matches(rest, &real[skipped..]))
        }
        Some((first, rest)) => real
            .split_first()
            .is_some_and(|(line, others)| line == first && matches(rest, others)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_nature_is_the_same() {
        let (one, two) = (
            "vm1  up  (ae:00:6f:db:8c:00), time=0.829 ms time 408ms id 7483, process 13068) 3.33%",
            "vm1  up (da:bb:b3:17:1c:07), time=1.2 ms  time 1408ms id 3, process 1) 5%",
        );
        assert_eq!(normalised([one]), normalised([two]));
        let (one, two) = ("21:24:59.456750 up 26 s", "00:00:00.000001 up 1 s");
        assert_eq!(normalised([one]), normalised([two]));
        let log = "2026-11-23T21:28:14.997549Z  INFO ready";
        assert_eq!(normalised([log]), ["TIME INFO ready"]);
    }

    #[test]
    fn what_a_document_says_differs() {
        let pairs = [
            ("vlan 10", "vlan 11"),
            ("10.0.0.1/24", "10.0.0.2/24"),
            ("mtu 1500 -> 9000", "mtu 1500 -> 9001"),
            ("0% packet loss", "20% packet loss"),
            ("\"uid\": 3,", "\"uid\": 4,"),
        ];
        for (one, two) in pairs {
            assert_ne!(normalised([one]), normalised([two]));
        }
        let table = |drops: &'static str| normalised(["PORT  RX FRAMES  DROPS", drops]);
        assert_eq!(table("vm1   4   Runt 1"), table("vm1  17  Runt 3"));
        assert_ne!(table("vm1   4   Runt 1"), table("vm1  17  TooLong 1"));
        assert_ne!(table("vm1   4   0"), table("vm1  4  Runt 1"));
        assert_ne!(table("vm1   4   0"), table("vm1  0  0"));
    }

    #[test]
    fn dots_stand_for_any_lines() {
        let lines = |text: &str| {
            text.chars()
                .map(|char| char.to_string())
                .collect::<Vec<_>>()
        };
        let shown = |text: &str| {
            let lines = lines(text).into_iter();
            let dots = |line| if line == "." { "...".to_owned() } else { line };
            lines.map(dots).collect::<Vec<_>>()
        };
        for (pattern, real) in [
            ("ab", "ab"),
            ("a.", "a"),
            ("a.d", "abcd"),
            (".", ""),
            (".c.", "abcd"),
        ] {
            assert!(matches(&shown(pattern), &lines(real)), "{pattern} {real}");
        }
        for (pattern, real) in [
            ("ab", "a"),
            ("a", "ab"),
            ("", "a"),
            ("a.d", "abc"),
            (".x.", "abc"),
        ] {
            assert!(!matches(&shown(pattern), &lines(real)), "{pattern} {real}");
        }
    }
}
