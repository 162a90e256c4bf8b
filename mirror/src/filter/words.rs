//! The words of a filter, one by one.

/// A word, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// The words of a text. Parentheses, and a mark of exclamation before something, are words by themselves.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut from = None;
    for (at, character) in text.char_indices() {
        let is_alone = matches!(character, '(' | ')' | '!');
        if (is_alone || character.is_whitespace())
            && let Some(from) = from.take()
        {
            words.push(Word {
                text: &text[from..at],
                at: from,
            });
        }
        if is_alone {
            let text = &text[at..=at];
            words.push(Word { text, at });
        } else if !character.is_whitespace() && from.is_none() {
            from = Some(at);
        }
    }
    if let Some(from) = from {
        let text = &text[from..];
        words.push(Word { text, at: from });
    }
    words
}
