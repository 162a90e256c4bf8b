//! A command line as a shell reads it, as far as words and quotes go.

/// A line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    words: Vec<String>,
    quote: Quote,
    /// Octets of the last word that bash does not replace.
    settled: usize,
}

/// The quotes that the last word is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

impl Line {
    /// Takes a line apart. The last word is the one to complete, which may be empty.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut begun = false;
        let mut quote = Quote::None;
        let mut settled = 0;
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match (quote, char) {
                (Quote::None, ' ' | '\t' | '\n') => {
                    if begun {
                        words.push(std::mem::take(&mut word));
                    }
                    begun = false;
                    settled = 0;
                    continue;
                }
                (Quote::None, '\'') => quote = Quote::Single,
                (Quote::None, '"') => quote = Quote::Double,
                (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
                (Quote::None | Quote::Double, '\\') => word.extend(chars.next()),
                (Quote::None, '=' | ':') => {
                    word.push(char);
                    // Where bash breaks words by itself (COMP_WORDBREAKS).
                    settled = word.len();
                }
                (_, char) => word.push(char),
            }
            begun = true;
        }
        words.push(word);
        Self {
            words,
            quote,
            settled,
        }
    }

    /// The words from the program of this name on, without the last one, and the last one. What stands before it are
    /// assignments, or a command such as `sudo`.
    pub(super) fn words_of(&self, program: &str) -> Option<(&[String], &str)> {
        let (last, words) = self.words.split_last()?;
        let is_program = |word: &String| word.rsplit('/').next() == Some(program);
        let start = words.iter().position(is_program)?;
        Some((&words[start..], last))
    }

    /// The value that is assigned to a variable before the command.
    pub(super) fn assigned(&self, variable: &str) -> Option<&str> {
        let assignments = self.words.iter().map_while(|word| word.split_once('='));
        let values = assignments.filter(|(name, _)| *name == variable);
        values.last().map(|(_, value)| value)
    }

    pub(super) fn quote(&self) -> Quote {
        self.quote
    }

    pub(super) fn settled(&self) -> usize {
        self.settled
    }
}

/// A text as bash takes it outside quotes.
pub(super) fn escaped(text: &str) -> String {
    let is_plain =
        |char: char| char.is_alphanumeric() || "-_./=:,@%+".contains(char) || !char.is_ascii();
    let mut escaped = String::with_capacity(text.len());
    for (index, char) in text.char_indices() {
        // A tilde at the start stands for a directory.
        let is_home = index == 0 && char == '~';
        if !is_plain(char) && !is_home {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Line::parse(text).words
    }

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(words("weft port "), ["weft", "port", ""]);
        assert_eq!(words("  weft\tport sh"), ["weft", "port", "sh"]);
        assert_eq!(words("weft 'VM Net"), ["weft", "VM Net"]);
        assert_eq!(
            words(r#"weft "a \" b" VM\ Net"#),
            ["weft", "a \" b", "VM Net"]
        );
        assert_eq!(words("weft '' "), ["weft", "", ""]);
        assert_eq!(words(""), [""]);
        assert_eq!(words("a\\"), ["a"]);
    }

    #[test]
    fn an_open_quote_and_what_bash_breaks_off_are_known() {
        assert_eq!(Line::parse("weft 'a").quote, Quote::Single);
        assert_eq!(Line::parse("weft \"a").quote, Quote::Double);
        assert_eq!(Line::parse("weft 'a'b").quote, Quote::None);
        assert_eq!(Line::parse("weft --agent=/r").settled, 8);
        assert_eq!(Line::parse("weft --agent=/r x").settled, 0);
        assert_eq!(Line::parse("weft '--agent=/r").settled, 0);
    }

    #[test]
    fn the_program_is_found_behind_assignments_and_other_commands() {
        let line = Line::parse("A=1 WEFT_AGENT=/a sudo /usr/bin/weft port ");
        let (words, last) = line.words_of("weft").unwrap();
        assert_eq!((words, last), (&line.words[3..5], ""));
        assert_eq!(line.assigned("WEFT_AGENT"), Some("/a"));
        assert_eq!(line.assigned("WEFT"), None);
        assert!(
            Line::parse("weft").words_of("weft").is_none(),
            "it is still typed"
        );
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("VM Network"), "VM\\ Network");
        assert_eq!(escaped("/run/a-b_1.sock"), "/run/a-b_1.sock");
        assert_eq!(escaped("~/$a;'"), "~/\\$a\\;\\'");
    }
}
