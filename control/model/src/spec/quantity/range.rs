//! Regular expressions for numbers within a range, by which a JSON Schema says what the parser accepts.

/// An expression for the amounts of `least` to `most` of the smallest unit, each in any of the units.
pub(super) fn pattern(units: &[(&str, u64)], least: u64, most: u64) -> String {
    let ranges = units.iter().filter_map(|(unit, factor)| {
        let (least, most) = (least.div_ceil(*factor), most / factor);
        (least <= most).then(|| format!("({}){unit}", between(least, most)))
    });
    let ranges: Vec<_> = ranges.collect();
    format!("^({})$", ranges.join("|"))
}

/// An expression for the numbers of `least` to `most`, without zeros in front.
fn between(least: u64, most: u64) -> String {
    let mut ranges = Vec::new();
    // Digits behind the first one, of the lengths of which all numbers are within the range.
    let mut whole: Option<(u32, u32)> = None;
    let mut least = least;
    loop {
        let behind = least.checked_ilog10().unwrap_or(0);
        let shortest = 10_u64.pow(behind);
        let longest = shortest.checked_mul(10).map_or(u64::MAX, |next| next - 1);
        let last = longest.min(most);
        if least == shortest && last == longest {
            whole = Some((whole.map_or(behind, |(from, _)| from), behind));
        } else {
            same_length("", &least.to_string(), &last.to_string(), &mut ranges);
        }
        if last == most {
            break;
        }
        least = last + 1;
    }
    ranges.extend(whole.map(|(from, to)| match to {
        0 => "[1-9]".to_owned(),
        _ => format!("[1-9][0-9]{{{from},{to}}}"),
    }));
    ranges.join("|")
}

/// Expressions for the numbers of `least` to `most`, which have as many digits, behind the digits of `start`.
fn same_length(start: &str, least: &str, most: &str, ranges: &mut Vec<String>) {
    let (Some(first), Some(last)) = (least.bytes().next(), most.bytes().next()) else {
        return ranges.push(start.to_owned());
    };
    let (after_least, after_most) = (&least[1..], &most[1..]);
    let rest = after_least.len();
    let begin = |digit: u8| format!("{start}{}", char::from(digit));
    if first == last {
        return same_length(&begin(first), after_least, after_most, ranges);
    }
    // Digits of which all that follows is within the range.
    let (mut from, mut to) = (first, last);
    if after_least.bytes().any(|digit| digit != b'0') {
        same_length(&begin(first), after_least, &"9".repeat(rest), ranges);
        from += 1;
    }
    if after_most.bytes().any(|digit| digit != b'9') {
        to -= 1;
    }
    if from <= to {
        let digits = match rest {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            rest => format!("[0-9]{{{rest}}}"),
        };
        let class = match to - from {
            0 => char::from(from).to_string(),
            _ => format!("[{}-{}]", char::from(from), char::from(to)),
        };
        ranges.push(format!("{start}{class}{digits}"));
    }
    if to < last {
        same_length(&begin(last), &"0".repeat(rest), after_most, ranges);
    }
}

#[cfg(test)]
mod tests {
    use jsonschema::draft202012;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_accepts_the_numbers_of_its_range_and_no_others() {
        for (least, most) in [
            (0, 0),
            (0, 9),
            (1, 4096),
            (7, 1280),
            (95, 105),
            (100, 999),
            (1500, 2047),
        ] {
            let schema = json!({"type": "string", "pattern": pattern(&[("x", 1)], least, most)});
            let validator = draft202012::new(&schema).unwrap();
            for number in 0..5000 {
                assert_eq!(
                    validator.is_valid(&json!(format!("{number}x"))),
                    (least..=most).contains(&number),
                    "{number}: {schema}"
                );
            }
            for text in ["", "x", "007x", "00x", "8", "8xx", "8y", "-8x"] {
                assert!(!validator.is_valid(&json!(text)), "{text}: {schema}");
            }
        }
    }

    #[test]
    fn a_unit_too_large_for_the_range_is_left_out() {
        assert_eq!(
            pattern(&[("s", 1), ("m", 60)], 1, 59),
            "^(([1-5][0-9]|[1-9])s)$"
        );
    }
}
