//! What a document shows: commands, what they print, and code within sentences.

use std::path::Path;

/// A Markdown document, as far as it shows commands.
#[derive(Debug)]
pub struct Document {
    /// What failures call it.
    pub name: String,
    /// Its fenced blocks, in their order.
    pub blocks: Vec<Block>,
    /// The code within its sentences and tables.
    pub spans: Vec<String>,
    /// Lines outside fences that are indented as code is.
    pub indented: Vec<String>,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The number of its first line.
    pub line: usize,
    /// The word behind the fence, such as `console`; may be empty.
    pub language: String,
    /// Its lines, without the indentation of the fence.
    pub lines: Vec<String>,
}

/// A command and what is shown of its output.
#[derive(Debug)]
pub struct Step {
    /// Where it stands.
    pub line: usize,
    /// What a shell runs.
    pub command: String,
    /// The lines below it; `None` if the document does not show what it prints.
    pub shown: Option<Vec<String>>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Panics
    /// If it cannot be read, or a fence does not end.
    pub fn read(root: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(root.join(name));
        Self::parse(
            name,
            &text.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    }

    /// Takes a text apart (CommonMark 0.31 §4.4, §4.5, §6.1, as far as these documents use them).
    ///
    /// # Panics
    /// If a fence does not end.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut document = Self {
            name: name.to_owned(),
            blocks: Vec::new(),
            spans: Vec::new(),
            indented: Vec::new(),
        };
        let mut prose = String::new();
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let within = lines.by_ref().map(|(_, line)| line);
                let mut within = within.map(|line| line.get(indent..).unwrap_or_default());
                let mut block = Vec::new();
                loop {
                    match within.next() {
                        Some("```") => break,
                        Some(line) => block.push(line.to_owned()),
                        None => panic!("{name}:{number}: the fence does not end"),
                    }
                }
                document.blocks.push(Block {
                    line: number + 1,
                    language: language.to_owned(),
                    lines: block,
                });
            } else if indent >= 4 {
                document.indented.push(line.trim().to_owned());
            } else {
                prose += line;
                prose.push('\n');
            }
        }
        // Code within a sentence may go on in the next line.
        let spans = prose
            .split("\n\n")
            .flat_map(|part| part.split('`').skip(1).step_by(2));
        document.spans = spans.map(|span| span.replace('\n', " ")).collect();
        document
    }
}

impl Block {
    /// Its commands: an `sh` block is one script whose output is not shown, in a `console` block root's prompt `# ` begins a
    /// command. Others have none.
    ///
    /// # Panics
    /// If a `console` block does not begin with a command.
    pub fn steps(&self) -> Vec<Step> {
        match self.language.as_str() {
            "sh" => vec![Step {
                line: self.line,
                command: self.lines.join("\n"),
                shown: None,
            }],
            "console" => self.console(),
            _ => Vec::new(),
        }
    }

    fn console(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line..).zip(&self.lines) {
            if let Some(command) = text.strip_prefix("# ") {
                steps.push(Step {
                    line,
                    command: command.to_owned(),
                    shown: Some(Vec::new()),
                });
            } else {
                let step = steps.last_mut().and_then(|step| step.shown.as_mut());
                let shown = step.unwrap_or_else(|| panic!("line {line}: output of no command"));
                shown.push(text.clone());
            }
        }
        steps
    }
}
