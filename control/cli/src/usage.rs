//! Command lines that do not parse.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What weft is to have and has not yet. Somebody who asks for one of these did not mean another one.
const NOT_YET: &[&str] = &[
    "capture",
    "cert",
    "context",
    "controller",
    "dvportgroup",
    "dvs",
    "events",
    "flows",
    "host",
    "migrate",
    "mirror",
    "netflow",
    "trace",
    "vmk",
];

/// Flags of which the same holds.
const FLAGS_NOT_YET: [&str; 2] = ["--context", "--join"];

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
                advise(&mut error, tip);
            }
        }
        ErrorKind::UnknownArgument => {
            error.remove(ContextKind::Suggested);
            if let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidArg)
                && let Some(flag) = FLAGS_NOT_YET.iter().find(|flag| asked.starts_with(**flag))
            {
                let tip = format!("'{flag}' is not supported yet; '--help' lists what is");
                advise(&mut error, tip);
            }
        }
        ErrorKind::MissingRequiredArgument => {
            // What a port is attached to, or the settings that a 'set' takes, as one group.
            if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
                && let Some(group) = missing
                    .iter()
                    .find(|one| one.starts_with("<--") && one.contains('|'))
            {
                let tip = if group.starts_with("<--veth") {
                    "say what to attach: one of --veth, --vhost-user and --tap"
                } else {
                    "say what to change: at least one of these"
                };
                advise(&mut error, tip.to_owned());
            }
        }
        _ => {}
    }
    error
}

fn advise(error: &mut clap::Error, tip: String) {
    error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![tip.into()]),
    );
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
    fn a_port_is_attached_to_one_thing() {
        let added = |flags: &str| said(&format!("port add A --portgroup Lab{flags}"));
        let (text, code) = added("");
        assert_eq!(code, 2);
        assert!(text.contains("say what to attach: one of --veth"), "{text}");
        for flags in [
            " --veth p --tap t",
            " --tap t --vhost-user /s",
            " --tap t --engine packet",
            " --veth p --role server",
            " --veth p --engine fast",
            " --vhost-user s",
            " --vhost-user /s --role both",
            " --tap averylongdevicename",
        ] {
            let (text, code) = added(flags);
            assert_eq!(code, 2, "{flags}: {text}");
        }
        let (text, _) = added(" --vhost-user s");
        assert!(text.contains("is not absolute"), "{text}");
    }

    #[test]
    fn setting_nothing_says_what_is_missing() {
        let (text, code) = said("port set MyVM1");
        assert_eq!(code, 2);
        assert!(text.contains("say what to change"), "{text}");
        let (text, _) = said("port add MyVM1");
        assert!(!text.contains("say what to change"), "{text}");
    }

    #[test]
    fn a_flag_that_does_not_exist_is_no_value() {
        let (text, code) = said("agent --join here");
        assert_eq!(code, 2);
        assert!(!text.contains("as a value"), "{text}");
        assert!(text.contains("'--join' is not supported yet"), "{text}");
        assert!(said("portgroup set Lab --vlam 10").0.contains("'--vlan'"));
    }
}
