//! Command lines that do not parse.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What weft is to have and has not yet. Somebody who asks for one of these did not mean another one.
const NOT_YET: [&str; 20] = [
    "apply",
    "capture",
    "cert",
    "confirm",
    "context",
    "controller",
    "diff",
    "dvportgroup",
    "dvs",
    "events",
    "flows",
    "history",
    "host",
    "migrate",
    "mirror",
    "netflow",
    "rollback",
    "top",
    "trace",
    "vmk",
];

/// The error without guesses that lead astray: commands that are not supported yet say so, and a flag that does not exist is no
/// value.
pub(crate) fn explained(mut error: clap::Error) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let asked = error.get(ContextKind::InvalidSubcommand);
            if let Some(ContextValue::String(asked)) = asked
                && NOT_YET.contains(&asked.as_str())
            {
                let tip = format!("'{asked}' is not supported yet; 'weft help' lists what is");
                error.remove(ContextKind::SuggestedSubcommand);
                error.insert(
                    ContextKind::Suggested,
                    ContextValue::StyledStrs(vec![tip.into()]),
                );
            }
        }
        ErrorKind::UnknownArgument => {
            error.remove(ContextKind::Suggested);
        }
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Cli;

    fn said(line: &str) -> (String, i32) {
        let words = std::iter::once("weft").chain(line.split(' '));
        let error = explained(Cli::try_parse_from(words).err().unwrap());
        (error.to_string(), error.exit_code())
    }

    #[test]
    fn what_is_not_supported_yet_says_so() {
        for name in NOT_YET {
            let (text, code) = said(name);
            assert_eq!(code, 2, "{text}");
            assert!(
                text.contains(&format!("'{name}' is not supported yet")),
                "{text}"
            );
            assert!(!text.contains("similar"), "{text}");
        }
        assert!(said("portgruop list").0.contains("'portgroup'"));
    }

    #[test]
    fn a_flag_that_does_not_exist_is_no_value() {
        let (text, code) = said("port add MyVM1 --portgroup Lab --tap tap0");
        assert_eq!(code, 2);
        assert!(text.contains("--tap") && !text.contains("tip:"), "{text}");
        assert!(said("portgroup set Lab --vlam 10").0.contains("'--vlan'"));
    }
}
