//! What can be typed while walking through a run.

use durhai::StepId;
use durhai::trace::Stop;

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Into,
    Over,
    Out,
    Back,
    /// To the next durable call.
    Step,
    Break(Option<String>, u32),
    At(StepId),
    Continue,
    Restart,
    Print(Option<String>),
    List,
    Where,
    Help,
    Quit,
}

pub const HELP: &str = "\
n, i         the next statement, into functions (so does an empty line the first time)
o            the next one, over functions
out          out of this function
b            back, to the statement before
s            to the next durable call
at STEP      to the call of that step
break LINE   on to that line; break lib/money:12 in a module
c            to the end
r            from the beginning
p            variables
p EXPR       an expression, evaluated on copies of the variables
l            the text around this place
w            where: calls of functions, and what other tasks wait for
q            quit
An empty line does the last move again.";

impl Command {
    pub fn parse(text: &str) -> Result<Command, String> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let none = |command: Command| match rest {
            "" => Ok(command),
            _ => Err(format!("{word} takes nothing behind it")),
        };
        match word {
            "n" | "next" | "i" | "into" => none(Command::Into),
            "o" | "over" => none(Command::Over),
            "out" => none(Command::Out),
            "b" | "back" => none(Command::Back),
            "s" | "step" => none(Command::Step),
            "c" | "continue" => none(Command::Continue),
            "r" | "restart" => none(Command::Restart),
            "l" | "list" => none(Command::List),
            "w" | "where" => none(Command::Where),
            "h" | "help" | "?" => none(Command::Help),
            "q" | "quit" | "exit" => none(Command::Quit),
            "p" | "print" => Ok(Command::Print(Some(rest.to_owned()).filter(|rest| !rest.is_empty()))),
            "at" => {
                StepId::parse(rest).map(Command::At).ok_or_else(|| format!("{rest:?} is no step id: at 4, at 4.1.2"))
            }
            "break" => match Stop::place(rest) {
                Some(Stop::Place { file, line, .. }) => Ok(Command::Break(file, line)),
                _ => Err(format!("{rest:?} is no line: break 12, break lib/money:12")),
            },
            _ => Err(format!("there is no command {word:?}; h lists them")),
        }
    }

    /// It goes somewhere: an empty line does it again.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Command::Into | Command::Over | Command::Out | Command::Back | Command::Step | Command::Break(..)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        for (text, command) in [
            ("n", Command::Into),
            ("over", Command::Over),
            ("b", Command::Back),
            ("p", Command::Print(None)),
            ("p a + b", Command::Print(Some("a + b".into()))),
            ("break 12", Command::Break(None, 12)),
            ("break lib/money:3", Command::Break(Some("lib/money".into()), 3)),
            ("at 4.1.2", Command::At(StepId::parse("4.1.2").expect("a step id"))),
        ] {
            assert_eq!(Command::parse(text), Ok(command), "{text}");
        }
        for text in ["fly", "break", "break x", "break 0", "at 4.1", "n 3"] {
            assert!(Command::parse(text).is_err(), "{text}");
        }
    }
}
