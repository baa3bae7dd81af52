//! The logs of a guest, within limits: a flood takes a fixed amount of memory and ends with one line that reports it.

use std::fmt;

use wasmtime::component::{ComponentType, Lift};

use crate::config::Limits;

/// Severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum LogLevel {
    /// Every step, for debugging.
    #[component(name = "trace")]
    Trace,
    /// For the provider's author.
    #[component(name = "debug")]
    Debug,
    /// For the administrator.
    #[component(name = "info")]
    Info,
    /// Needs attention.
    #[component(name = "warn")]
    Warn,
    /// Something failed.
    #[component(name = "error")]
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One message of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Severity, as the guest set it.
    pub level: LogLevel,
    /// The text, without control characters except newlines and tabs.
    pub message: String,
}

/// Collects the lines of one call.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    lines: Vec<LogLine>,
    lines_left: usize,
    bytes_left: usize,
    line_bytes: usize,
    dropped: usize,
    /// The last error among the dropped lines, so that a crash after a flood still has its message.
    last_error: Option<LogLine>,
}

impl LogBuffer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            lines: Vec::new(),
            lines_left: limits.log_lines,
            bytes_left: limits.log_bytes,
            line_bytes: limits.log_line_bytes,
            dropped: 0,
            last_error: None,
        }
    }

    /// The part of a message to keep; `None` if it is to be dropped, which [`LogBuffer::drop_line`] counts.
    pub(crate) fn line(&self, level: LogLevel, message: &str) -> Option<LogLine> {
        let room = if self.is_full() { 0 } else { self.bytes_left.min(self.line_bytes) };
        let room = if level == LogLevel::Error { self.line_bytes } else { room };
        if room == 0 {
            return None;
        }
        let message = message.trim_end();
        let kept = &message[..message.floor_char_boundary(room)];
        let mut text: String = kept.chars().map(printable).collect();
        if kept.len() < message.len() {
            text.push_str(&format!("... ({} of {} bytes)", kept.len(), message.len()));
        }
        Some(LogLine { level, message: text })
    }

    /// Counts a dropped line.
    pub(crate) fn drop_line(&mut self) {
        self.dropped += 1;
    }

    /// Keeps a line that [`LogBuffer::line`] made.
    pub(crate) fn push(&mut self, line: LogLine) {
        if self.is_full() {
            self.drop_line();
            self.last_error = Some(line);
        } else {
            self.lines_left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(line.message.len());
            self.lines.push(line);
        }
    }

    /// The lines; if some were dropped, also one that reports it, and the last error.
    pub(crate) fn finish(mut self) -> Vec<LogLine> {
        if self.dropped > 0 {
            let message = format!("{} more lines were dropped: the provider logs too much", self.dropped);
            self.lines.push(LogLine { level: LogLevel::Warn, message });
        }
        self.lines.extend(self.last_error);
        self.lines
    }

    fn is_full(&self) -> bool {
        self.lines_left == 0 || self.bytes_left == 0
    }
}

/// A guest must not forge lines or move the cursor in a reader's terminal.
fn printable(c: char) -> char {
    if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { log_lines: 3, log_bytes: 20, log_line_bytes: 10, ..Limits::default() }
    }

    fn logged(level: LogLevel, messages: &[&str]) -> Vec<String> {
        let mut buffer = LogBuffer::new(&limits());
        for message in messages {
            match buffer.line(level, message) {
                Some(line) => buffer.push(line),
                None => buffer.drop_line(),
            }
        }
        buffer.finish().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(logged(LogLevel::Info, &["123456789é!"]), ["123456789... (9 of 12 bytes)"]);
    }

    #[test]
    fn lines_beyond_the_cap_are_counted() {
        assert_eq!(
            logged(LogLevel::Info, &["a", "b", "c", "d", "efg"]),
            ["a", "b", "c", "2 more lines were dropped: the provider logs too much"]
        );
    }

    #[test]
    fn bytes_beyond_the_cap_are_counted() {
        assert_eq!(
            logged(LogLevel::Info, &["1234567890", "1234567890", "x"]),
            ["1234567890", "1234567890", "1 more lines were dropped: the provider logs too much"]
        );
    }

    #[test]
    fn the_last_error_survives_a_flood() {
        assert_eq!(
            logged(LogLevel::Error, &["a", "b", "c", "d", "e"]),
            ["a", "b", "c", "2 more lines were dropped: the provider logs too much", "e"]
        );
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(logged(LogLevel::Info, &["a\u{1b}[2J\nb\n"]), ["a\u{fffd}[2J\nb"]);
    }
}
