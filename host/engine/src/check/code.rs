//! The kinds of findings, and how bad each is.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look.
    Hint,
    /// Hardly ever meant.
    Warning,
    /// It fails when it is run, or cannot be run at all.
    Error,
}

macro_rules! codes {
    ($($code:ident $severity:ident $name:literal,)*) => {
        /// What kind of finding it is. The names are stable; `host/docs/check.md` has an example and a cure for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($code,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            pub fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Code::$code => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Syntax Error "syntax",
    TryAsValue Error "try-as-value",
    FunctionAfterValue Error "function-after-value",
    ReservedWord Error "reserved-word",
    Header Error "header",
    NeverDue Error "never-due",
    ImportMissing Error "import-missing",
    ImportComputed Error "import-computed",
    ImportCircle Error "import-circle",
    UnknownModule Error "unknown-module",
    UnknownMember Error "unknown-member",
    UnknownFunction Error "unknown-function",
    WrongArguments Error "wrong-arguments",
    UnknownVariable Error "unknown-variable",
    ConstantAssigned Error "constant-assigned",
    UnknownStep Error "unknown-step",
    UnknownWorkflow Error "unknown-workflow",
    UnknownOption Error "unknown-option",
    WrongValue Error "wrong-value",
    NotAClosure Error "not-a-closure",
    UnusedImport Warning "unused-import",
    UnusedVariable Warning "unused-variable",
    UnusedFunction Warning "unused-function",
    ShadowedInput Warning "shadowed-input",
    Unreachable Warning "unreachable",
    ConstantCondition Warning "constant-condition",
    Spins Warning "spins",
    CallInComparer Warning "call-in-comparer",
    StateNeverSet Warning "state-never-set",
    CapturedLater Warning "captured-later",
    ForeignField Warning "foreign-field",
    BacktickEscape Warning "backtick-escape",
    NoInterpolation Warning "no-interpolation",
    LabelTwice Warning "label-twice",
    LongNumber Warning "long-number",
    SignalUnsent Hint "signal-unsent",
    SharedWrite Hint "shared-write",
    CallInCallback Hint "call-in-callback",
    Endless Hint "endless",
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
