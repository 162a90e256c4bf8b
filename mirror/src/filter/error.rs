//! What is wrong with a text that is no filter.

use super::words::Word;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Something is wrong with a word.
    #[error("filter, at {word:?} (column {}): {problem}", .at + 1)]
    Word {
        /// The word.
        word: String,
        /// Where it begins, in octets.
        at: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It ends too soon.
    #[error("filter: {missing} is missing at the end")]
    End {
        /// What should come.
        missing: &'static str,
    },
    /// It is too long, or too deep.
    #[error("filter: {0}")]
    Size(&'static str),
}

pub(super) fn wrong(word: Word<'_>, problem: &str) -> FilterError {
    FilterError::Word {
        word: word.text.to_owned(),
        at: word.at,
        problem: problem.to_owned(),
    }
}

/// Whether a word asks for an octet, or compares, which tcpdump does too.
pub(super) fn is_beyond(text: &str) -> bool {
    text.contains(['[', '=', '<', '>', '&', '|'])
        || matches!(
            text,
            "gateway" | "len" | "mpls" | "pppoed" | "pppoes" | "inbound" | "outbound"
        )
}

pub(super) fn beyond(word: Word<'_>) -> FilterError {
    wrong(
        word,
        "it is not known here; capture more, and have tcpdump or Wireshark filter the file",
    )
}
