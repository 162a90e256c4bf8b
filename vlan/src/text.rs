//! Texts in errors.

/// Characters of a refused text that an error repeats; the text may come from a hostile source.
const SHOWN: usize = 40;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
