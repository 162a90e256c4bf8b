//! A sign of life for whoever waits at a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes less time needs no sign.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two pictures.
const STEP: Duration = Duration::from_millis(120);

const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Moves the cursor to the start of the line and clears it (ECMA-48 EL).
const CLEAR: &str = "\r\x1b[K";

/// What is being done, told on standard error while it takes longer than a second: only if that is a terminal. The line is
/// gone when this is dropped.
pub(crate) struct Progress {
    teller: Option<JoinHandle<()>>,
}

enum Told {
    /// Something else is being done.
    Work(String),
    /// The line goes at once; the answer says that it is gone.
    Pause(mpsc::Sender<()>),
}

/// Who tells at this moment: whatever is printed has to come past it.
static TELLER: Mutex<Option<mpsc::Sender<Told>>> = Mutex::new(None);

fn teller() -> MutexGuard<'static, Option<mpsc::Sender<Told>>> {
    TELLER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Tells of some work, such as `making lab mirror`. One at a time: where somebody tells already, this one is silent.
    pub(crate) fn of(work: impl Into<String>) -> Self {
        let mut told = teller();
        if told.is_some() || !io::stderr().is_terminal() {
            return Self { teller: None };
        }
        let (sender, receiver) = mpsc::channel();
        let work = work.into();
        let thread = std::thread::Builder::new()
            .name("weft-progress".to_owned())
            .spawn(move || tell(work, &receiver));
        // Without a thread there is no sign of life, and the work goes on.
        let teller = thread.ok();
        *told = teller.is_some().then_some(sender);
        Self { teller }
    }
}

/// Something else is being done; the time goes on.
pub(crate) fn step(work: impl Into<String>) {
    if let Some(sender) = &*teller() {
        // A teller that is gone tells nothing.
        let _ = sender.send(Told::Work(work.into()));
    }
}

/// Takes the line away, for something else to be printed. It comes back after a second.
pub(crate) fn pause() {
    if let Some(sender) = &*teller() {
        let (gone, is_gone) = mpsc::channel();
        if sender.send(Told::Pause(gone)).is_ok() {
            let _ = is_gone.recv();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(thread) = self.teller.take() {
            teller().take();
            let _ = thread.join();
        }
    }
}

fn tell(mut work: String, receiver: &mpsc::Receiver<Told>) {
    let started = Instant::now();
    let mut wait = PATIENCE;
    let mut shown = 0;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(Told::Work(next)) => work = next,
            Ok(Told::Pause(gone)) => {
                clear(&mut shown);
                wait = PATIENCE;
                let _ = gone.send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                wait = STEP;
                let seconds = started.elapsed().as_secs();
                let spinner = SPINNER[shown % SPINNER.len()];
                shown += 1;
                // A line that wraps could not be cleared.
                let line: String = format!("{spinner} {work} ({seconds} s)");
                let line: String = line.chars().take(columns()).collect();
                write(&format!("{CLEAR}{line}"));
            }
            Err(RecvTimeoutError::Disconnected) => break clear(&mut shown),
        }
    }
}

fn clear(shown: &mut usize) {
    if *shown > 0 {
        write(CLEAR);
        *shown = 0;
    }
}

fn columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns.max(2)) - 1)
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is nobody to tell if this fails.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}
