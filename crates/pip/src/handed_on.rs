//! The environment variables that are passed to builds from source: those that users set for
//! compilers and build back ends. All of them are part of the fingerprint.

use std::collections::BTreeMap;

use zipwright_store::project::Project;

/// Whole names.
const NAMES: [&str; 19] = [
    "AR",
    "ARCHFLAGS",
    "CARGO_BUILD_TARGET",
    "CC",
    "CFLAGS",
    "CMAKE_ARGS",
    "CMAKE_GENERATOR",
    "CMAKE_PREFIX_PATH",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "LDFLAGS",
    "LDSHARED",
    "LIBRARY_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
    "MATURIN_PEP517_ARGS",
    "PKG_CONFIG_PATH",
    "SETUPTOOLS_USE_DISTUTILS",
];

/// Prefixes of names: settings of build back ends, above all a version that they would otherwise
/// read from version control.
const PREFIXES: [&str; 9] = [
    "HATCH_BUILD_",
    "PBR_",
    "PDM_BUILD_",
    "POETRY_DYNAMIC_VERSIONING_",
    "SETUPTOOLS_SCM_",
    "SKBUILD_",
    "UV_DYNAMIC_VERSIONING_",
    "VCS_VERSIONING_",
    "VERSIONEER_",
];

/// Returns the variables with their values: the relevant ones of the environment, then those of the
/// Buildfile, which win.
pub(super) fn variables(project: &Project) -> BTreeMap<String, String> {
    let is_of_use = |name: &str| {
        NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let own = project.vars().iter().filter(|(name, value)| is_of_use(name) && !value.is_empty());
    let all = own.chain(project.build_vars());
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_for_one_project_and_the_buildfiles_own_are_handed_on() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let env = map(&[
            ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_X", "1"),
            ("PBR_VERSION", "2"),
            ("CFLAGS", ""),
            ("CC", "gcc"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ]);
        let project =
            Project::new("/p".into(), env).with_build_vars(&map(&[("CC", "clang"), ("A", "")]));
        let expected = map(&[
            ("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_X", "1"),
            ("PBR_VERSION", "2"),
            ("CC", "clang"),
            ("A", ""),
        ]);
        assert_eq!(variables(&project), expected);
        assert_eq!(project.var("CC"), Some("clang"));
    }
}
