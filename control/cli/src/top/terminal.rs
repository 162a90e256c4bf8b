//! The terminal while `weft top` has it: another screen, without a cursor, every key at once. It is given back however the
//! program ends.

use std::io::{self, Write};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use tokio::sync::mpsc;

use super::view::{Key, Line, Look};

/// The terminal, until it is dropped.
pub(super) struct Terminal {
    colour: bool,
    /// What stands on the screen.
    shown: Vec<Line>,
    size: (u16, u16),
}

/// What came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Key(Key),
    /// It has another size.
    Resized,
    /// Ctrl-C: while every key is read at once, it is one of them.
    Interrupt,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or does not listen.
    pub(super) fn take(colour: bool) -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // First, so that the text of the panic can be read.
            give_back();
            before(panic);
        }));
        enable_raw_mode()?;
        let terminal = Self {
            colour,
            shown: Vec::new(),
            size: (0, 0),
        };
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            DisableLineWrap,
            cursor::Hide
        )?;
        Ok(terminal)
    }

    /// Its columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        crossterm::terminal::size()
    }

    /// Shows these lines, and writes only those that differ from what stands there.
    pub(super) fn draw(&mut self, size: (u16, u16), lines: Vec<Line>) -> io::Result<()> {
        let mut out = Vec::new();
        queue!(out, BeginSynchronizedUpdate)?;
        if self.size != size || self.shown.len() != lines.len() {
            queue!(out, Clear(ClearType::All))?;
            self.shown = vec![Line::default(); lines.len()];
            self.size = size;
        }
        for (row, (line, shown)) in (0..).zip(lines.iter().zip(&self.shown)) {
            if line != shown {
                queue!(out, cursor::MoveTo(0, row))?;
                for (look, text) in &line.0 {
                    self.write(&mut out, *look, text)?;
                }
                queue!(out, Clear(ClearType::UntilNewLine))?;
            }
        }
        queue!(out, EndSynchronizedUpdate)?;
        self.shown = lines;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }

    fn write(&self, out: &mut Vec<u8>, look: Look, text: &str) -> io::Result<()> {
        // Bold and reversed are no colours (https://no-color.org).
        let (attribute, colour) = match look {
            Look::Plain => (None, None),
            Look::Strong => (Some(Attribute::Bold), None),
            Look::Heading => (Some(Attribute::Reverse), None),
            Look::Chosen => (Some(Attribute::Bold), Some(Color::Cyan)),
            Look::Faint => (Some(Attribute::Dim), None),
            Look::Wrong => (Some(Attribute::Bold), Some(Color::Red)),
        };
        if let Some(colour) = colour.filter(|_| self.colour) {
            queue!(out, SetForegroundColor(colour))?;
        }
        if let Some(attribute) = attribute {
            queue!(out, SetAttribute(attribute))?;
        }
        queue!(out, Print(text))?;
        if attribute.is_some() || colour.is_some() {
            queue!(out, SetAttribute(Attribute::Reset))?;
            if self.colour {
                queue!(out, ResetColor)?;
            }
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// There is nobody to tell if this fails.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        cursor::Show,
        EnableLineWrap,
        LeaveAlternateScreen
    );
    let _ = disable_raw_mode();
}

/// What comes from the terminal, until it goes. The thread that reads it ends with the program.
pub(super) fn inputs() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::Builder::new()
        .name("weft-keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if let Some(input) = input(&event)
                    && sender.blocking_send(input).is_err()
                {
                    break;
                }
            }
        })?;
    Ok(receiver)
}

fn input(event: &Event) -> Option<Input> {
    let KeyEvent {
        code,
        modifiers,
        kind,
        ..
    } = match event {
        Event::Resize(..) => return Some(Input::Resized),
        Event::Key(key) => key,
        _ => return None,
    };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (*code == KeyCode::Char('c')).then_some(Input::Interrupt);
    }
    let key = match code {
        KeyCode::Char(char) => Key::Char(*char),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    };
    Some(Input::Key(key))
}
