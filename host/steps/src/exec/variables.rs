//! The environment that a program runs in.

use std::collections::BTreeMap;

use durhai::StepError;

use crate::attempt::Caller;
use crate::environment::Environment;
use crate::permissions::ExecGrant;
use crate::step_env::StepEnv;

/// What programs need to work at all, and what says no more than where and for whom.
const PLAIN: [&str; 9] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "SystemRoot", "TEMP", "TMP"];

/// Variables that make a program load code, run other programs or read other settings than it would. The list cannot be
/// complete: programs are free to find such a meaning in any variable.
const POWERFUL: &[&str] = &[
    "ANSIBLE_*",
    "AWK*",
    "AWS_CONFIG_FILE",
    "BASHOPTS",
    "BASH_*",
    "BROWSER",
    "BUNDLE_*",
    "CARGO*",
    "CC",
    "CDPATH",
    "CLASSPATH",
    "COMSPEC",
    "CORECLR_*",
    "COR_*",
    "CURL_HOME",
    "CVS_RSH",
    "CXX",
    "DENO_*",
    "DOCKER_*",
    "DOTNET_*",
    "DYLD_*",
    "EDITOR",
    "ELECTRON_*",
    "ENV",
    "ERL_*",
    "EXINIT",
    "FPATH",
    "FZF_*",
    "GCC_*",
    "GCONV_PATH",
    "GDK_*",
    "GEM_*",
    "GIO_*",
    "GIT_*",
    "GLIBC_*",
    "GNUPGHOME",
    "GOFLAGS",
    "GOPATH",
    "GOROOT",
    "GRADLE_*",
    "GST_*",
    "GTK_*",
    "GUILE_*",
    "HG*",
    "HOME",
    "IFS",
    "JAVA_*",
    "JDK_*",
    "JULIA_*",
    "KUBECONFIG",
    "LD",
    "LD_*",
    "LESS*",
    "LIBGL_*",
    "LOCPATH",
    "LUA_*",
    "MAKEFILES",
    "MAKEFLAGS",
    "MALLOC_*",
    "MANPAGER",
    "MAVEN_*",
    "MONO_*",
    "NETRC",
    "NLSPATH",
    "NODE_*",
    "NPM_*",
    "OPENSSL_*",
    "PAGER",
    "PATH",
    "PATHEXT",
    "PERL*",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PHP*",
    "PIP_*",
    "PROMPT_COMMAND",
    "PS4",
    "PSMODULEPATH",
    "PSQL*",
    "PYTHON*",
    "QT_*",
    "RIPGREP_CONFIG_PATH",
    "RSYNC_*",
    "RUBY*",
    "RUST*",
    "R_*",
    "SHELL",
    "SHELLOPTS",
    "SSH_*",
    "SUDO_*",
    "SVN_*",
    "SYSTEMROOT",
    "TAR_OPTIONS",
    "TCLLIBPATH",
    "TERMCAP",
    "TERMINFO*",
    "TF_CLI_*",
    "USERPROFILE",
    "VIM*",
    "VISUAL",
    "WGETRC",
    "XDG_*",
    "YARN_*",
    "ZDOTDIR",
    "_JAVA_*",
];

/// For a program that a script runs: little of the host's own, what was granted, and what the call adds.
pub fn for_script(
    step_env: &StepEnv,
    caller: &Caller,
    env: BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, StepError> {
    for name in env.keys().chain(secrets.keys()) {
        if step_env.permissions.exec != ExecGrant::Everything && is_powerful(name) {
            return Err(StepError::fatal(format!(
                "setting {name} for a program is not allowed, because it can decide which code runs: grant it with \
                 --allow-exec, for every program"
            )));
        }
    }
    let inherited =
        |name: &str| PLAIN.contains(&name) || name.starts_with("LC_") || step_env.permissions.env.covers(name);
    let inherited = step_env.environment.iter().filter(|(name, _)| inherited(name));
    together(inherited, step_env, caller, env, secrets)
}

/// For a program that the settings declare: all of the host's own.
pub fn for_declared(
    step_env: &StepEnv,
    caller: &Caller,
    env: BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, StepError> {
    together(step_env.environment.iter(), step_env, caller, env, secrets)
}

/// Where programs are looked for.
pub fn search_path(environment: &Environment) -> &str {
    environment.get("PATH").unwrap_or_default()
}

fn together<'a>(
    inherited: impl Iterator<Item = (&'a str, &'a str)>,
    step_env: &StepEnv,
    caller: &Caller,
    env: BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, StepError> {
    let mut variables: BTreeMap<_, _> = inherited.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some(name) = env.keys().chain(secrets.keys()).find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(StepError::fatal(format!("{name:?} is no name of a variable")));
    }
    if let Some(name) = secrets.keys().find(|name| env.contains_key(*name)) {
        return Err(StepError::fatal(format!("the variable {name} stands in env and in secrets: one of them must go")));
    }
    // The span that the host itself was started from is not the one this is part of.
    variables.remove("TRACESTATE");
    variables.insert("TRACEPARENT".into(), caller.traceparent.clone());
    variables.extend(env);
    for (name, secret) in secrets {
        variables.insert(name.clone(), step_env.secret(secret)?);
    }
    let own = [
        ("DURHAI_RUN_ID", caller.run_id.clone()),
        ("DURHAI_STEP_ID", caller.step_id.clone()),
        ("DURHAI_ATTEMPT", caller.attempt.to_string()),
        ("DURHAI_IDEMPOTENCY_KEY", caller.key.clone()),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Ok(variables.into_iter().collect())
}

fn is_powerful(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    POWERFUL.iter().any(|powerful| match powerful.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *powerful == name,
    })
}
