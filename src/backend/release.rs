//! Checks that the extensions' scripts are of the library's release. They are not if only one of the two has been replaced.
//!
//! A backend checks once, before its first invocation. Options are validated without the check: pg_upgrade creates the objects of an older
//! release again, and a database has to keep its servers while it is updated.

use crate::error::{ConfigurationError, Error};
use crate::postgres::extensions;
use std::cell::Cell;

/// The version of this release's scripts: the first two numbers of the version in Cargo.toml. Scripts don't change with the third.
const RELEASE: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// The extensions whose functions are in the library. The version of aws_commons is another.
const EXTENSIONS: [&str; 2] = ["aws_lambda", "aws_lambda_fdw"];

thread_local! {
    static SAME: Cell<bool> = const { Cell::new(false) };
}

/// Errors where an extension in the database is of another release.
pub fn check() -> Result<(), Error> {
    if SAME.get() {
        return Ok(());
    }
    let other = (extensions::versions().into_iter())
        .find(|(name, version)| EXTENSIONS.contains(&name.as_str()) && version != RELEASE);
    match other {
        Some((extension, version)) => Err(Error::Configuration(ConfigurationError::OtherRelease {
            newer: numbers(&version) > numbers(RELEASE),
            extension,
            version,
            library: RELEASE,
        })),
        None => {
            SAME.set(true);
            Ok(())
        }
    }
}

/// The numbers of a version, to compare versions.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_have_the_version_of_cargo_toml() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for extension in EXTENSIONS {
            let control = std::fs::read_to_string(root.join(format!("{extension}.control")));
            assert!(
                control
                    .is_ok_and(|text| text.contains(&format!("default_version = '{RELEASE}'\n"))),
                "{extension}.control: default_version is not {RELEASE}"
            );
            let script = root.join(format!("sql/{extension}--{RELEASE}.sql"));
            assert!(script.exists(), "{script:?} is not there");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.10") > numbers("1.9"));
        assert!(numbers("2.0") > numbers("1.10"));
    }
}
