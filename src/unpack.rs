//! Unpacks a zip into a folder, for tools that take a folder instead of a zip.
//!
//! Checks every member before it writes anything: no path leaves the folder, no file of the user is
//! replaced. Knows nothing of targets.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use filetime::FileTime;

use crate::base::{RelPath, beneath, fs as base_fs, words};
use crate::bundle::{Archive, EntryKind, Listed};

type Zip = Archive<BufReader<File>>;

/// Mode of files and folders whose zip has none, and of folders that the zip does not list.
const FILE: u32 = 0o644;
const FOLDER: u32 = 0o755;

/// Number and size of the unpacked files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    pub files: usize,
    pub size: u64,
}

/// A member, and its path below the folder.
struct Member {
    path: RelPath,
    listed: Listed,
}

/// Unpacks `zip` into `folder`, which is created if it does not exist. Files have the modes and times
/// of the zip; its times count as UTC. A file that is there already and has other bytes is an error
/// unless `force` is set. All other files of the folder stay.
pub fn unpack(zip: &Path, folder: &Path, force: bool) -> Result<Unpacked> {
    let unreadable = || format!("could not read `{}`", zip.display());
    let mut archive =
        Archive::open(BufReader::new(base_fs::open(zip)?)).with_context(unreadable)?;
    let members = members(&mut archive).with_context(unreadable)?;
    let exists = folder.symlink_metadata().is_ok();
    if exists {
        if !folder.is_dir() {
            bail!("`{}` is not a folder: name another one", folder.display());
        }
        check_places(&members, &mut archive, folder, force)?;
    }
    let inside = folder.join("x");
    let temporary = base_fs::temp_dir_beside(if exists { &inside } else { folder })?;
    let failed = |path: &RelPath| format!("could not unpack `{path}` of `{}`", zip.display());
    for member in &members {
        write(member, &mut archive, temporary.path()).with_context(|| failed(&member.path))?;
    }
    let files = members.iter().filter(|member| member.listed.kind == EntryKind::File);
    let unpacked =
        Unpacked { files: files.clone().count(), size: files.map(|file| file.listed.size).sum() };
    if !exists {
        base_fs::create_dir_all(folder)?;
    }
    put_in_place(&members, temporary.path(), folder)?;
    Ok(unpacked)
}

/// Returns the members with safe paths, folders before the files in them.
fn members(archive: &mut Zip) -> Result<Vec<Member>> {
    if archive.has_duplicate_names() {
        bail!("two members have the same name");
    }
    let mut members = Vec::new();
    let mut files = BTreeSet::new();
    for listed in archive.list()? {
        let name = &listed.name;
        if listed.kind == EntryKind::Link {
            bail!("`{name}` is a link, and links are not unpacked");
        }
        let is_inside = listed.path().is_some() && !name.contains('\\');
        let Some(path) = RelPath::parse(name).ok().filter(|_| is_inside) else {
            bail!("`{}` is not a path in the zip's folder", name.escape_debug());
        };
        if listed.kind == EntryKind::File && !files.insert(path.clone()) {
            bail!("`{path}` is there twice");
        }
        members.push(Member { path, listed });
    }
    for member in &members {
        let within = member.path.folders().map(str::to_owned);
        let own = (member.listed.kind == EntryKind::Folder).then(|| member.path.to_string());
        for folder in within.chain(own) {
            if RelPath::parse(&folder).is_ok_and(|path| files.contains(&path)) {
                bail!("`{folder}` is a file and a folder");
            }
        }
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(members)
}

/// Fails if a member would be written through a link, or in place of something that has other content.
fn check_places(members: &[Member], archive: &mut Zip, folder: &Path, force: bool) -> Result<()> {
    let mut different = Vec::new();
    for Member { path, listed } in members {
        if listed.kind == EntryKind::Folder {
            beneath::check_folder(folder, path)?;
            continue;
        }
        beneath::check_parents(folder, path)?;
        let place = path.under(folder);
        let Ok(meta) = place.symlink_metadata() else { continue };
        if meta.is_dir() {
            bail!("`{}` is a folder, and a file in the zip: move it away", place.display());
        }
        let mut same = || has_content(&place, archive.content(listed.index)?);
        if !force && (!meta.is_file() || meta.len() != listed.size || !same()?) {
            different.push(format!("`{}`", place.display()));
        }
    }
    if let [first, ..] = different.as_slice() {
        let more = match different.len() - 1 {
            0 => String::new(),
            more => format!(" and {}", words::count(more, "more file")),
        };
        bail!(
            "{first}{more} would be replaced by other content; nothing was written\n\
             name an empty folder, or replace them with --force"
        );
    }
    Ok(())
}

fn has_content(place: &Path, mut content: impl Read) -> Result<bool> {
    let mut theirs = Vec::new();
    content.read_to_end(&mut theirs).context("could not read the zip")?;
    Ok(base_fs::read(place)? == theirs)
}

/// Writes a member below `folder`, with its mode and time.
fn write(member: &Member, archive: &mut Zip, folder: &Path) -> Result<()> {
    let Member { path, listed } = member;
    let place = path.under(folder);
    if listed.kind == EntryKind::Folder {
        return Ok(fs::create_dir_all(&place)?);
    }
    fs::create_dir_all(place.parent().unwrap_or(folder))?;
    let mut file = File::create_new(&place)?;
    io::copy(&mut archive.content(listed.index)?, &mut file)?;
    file.set_permissions(Permissions::from_mode(listed.mode.map_or(FILE, |mode| mode & 0o777)))?;
    if let Some(time) = listed.time {
        filetime::set_file_handle_times(&file, None, Some(FileTime::from_unix_time(time, 0)))?;
    }
    Ok(())
}

/// Moves all files to their places, then gives the folders their modes and times.
fn put_in_place(members: &[Member], from: &Path, to: &Path) -> Result<()> {
    let mut made = BTreeSet::new();
    for Member { path, listed } in members {
        let place = path.under(to);
        let is_folder = listed.kind == EntryKind::Folder;
        let parent = if is_folder { place.as_path() } else { place.parent().unwrap_or(to) };
        for missing in parent.ancestors().take_while(|folder| !folder.exists()) {
            made.insert(missing.to_path_buf());
        }
        base_fs::create_dir_all(parent)?;
        if !is_folder {
            base_fs::rename(&path.under(from), &place)?;
        }
    }
    // The outermost last: a file put into a folder changes its time.
    for folder in made.iter().rev() {
        let listed = members.iter().find(|member| member.path.under(to) == *folder);
        let mode = listed.and_then(|member| member.listed.mode).map_or(FOLDER, |mode| mode & 0o777);
        let failed = || format!("could not set the mode and time of `{}`", folder.display());
        fs::set_permissions(folder, Permissions::from_mode(mode)).with_context(failed)?;
        if let Some(time) = listed.and_then(|member| member.listed.time) {
            filetime::set_file_mtime(folder, FileTime::from_unix_time(time, 0))
                .with_context(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Writes a zip with files, an executable one first.
    fn zip_with(folder: &Path, names: &[&str]) -> std::path::PathBuf {
        let place = folder.join("a.zip");
        let mut zip = ZipWriter::new(File::create(&place).unwrap());
        let time = zip::DateTime::from_date_and_time(2001, 2, 3, 4, 5, 6).unwrap();
        let options = SimpleFileOptions::default().last_modified_time(time);
        for (at, name) in names.iter().enumerate() {
            let mode = if at == 0 { 0o755 } else { 0o644 };
            zip.start_file(*name, options.unix_permissions(mode)).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        place
    }

    #[test]
    fn files_have_content_mode_and_time_of_the_zip() {
        let folder = tempfile::tempdir().unwrap();
        let zip = zip_with(folder.path(), &["bin/run", "a.py"]);
        let to = folder.path().join("new/out");
        assert_eq!(unpack(&zip, &to, false).unwrap(), Unpacked { files: 2, size: 11 });
        let meta = to.join("bin/run").metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 981_173_106));
        assert_eq!(fs::read(to.join("a.py")).unwrap(), b"a.py");
        // Again, and beside a file of the user.
        fs::write(to.join("mine"), "kept").unwrap();
        unpack(&zip, &to, false).unwrap();
        assert_eq!(fs::read(to.join("mine")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 3);
    }

    #[test]
    fn a_file_with_other_content_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let zip = zip_with(folder.path(), &["a.py", "b.py"]);
        let to = folder.path().join("out");
        fs::create_dir(&to).unwrap();
        fs::write(to.join("b.py"), "mine").unwrap();
        let error = unpack(&zip, &to, false).unwrap_err().to_string();
        assert!(error.contains("b.py` would be replaced") && error.contains("--force"), "{error}");
        assert_eq!(fs::read(to.join("b.py")).unwrap(), b"mine");
        assert!(!to.join("a.py").exists());
        unpack(&zip, &to, true).unwrap();
        assert_eq!(fs::read(to.join("b.py")).unwrap(), b"b.py");
        fs::remove_file(to.join("b.py")).unwrap();
        fs::create_dir(to.join("b.py")).unwrap();
        unpack(&zip, &to, true).unwrap_err();
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        for bad in ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "a/../evil", "e\u{7}"] {
            let zip = zip_with(folder.path(), &["good", bad]);
            let error = format!("{:#}", unpack(&zip, &to, true).unwrap_err());
            assert!(error.contains("is not a path in the zip's folder"), "{bad}: {error}");
            assert!(!to.exists(), "{bad}");
        }
        fs::create_dir(&to).unwrap();
        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", to.join("a")).unwrap();
        let zip = zip_with(folder.path(), &["a/b"]);
        let error = unpack(&zip, &to, true).unwrap_err().to_string();
        assert!(error.contains("`a` is a link to `../elsewhere`"), "{error}");
        assert!(fs::read_dir(folder.path().join("elsewhere")).unwrap().next().is_none());
    }

    #[test]
    fn links_and_contradictions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        let zip = zip_with(folder.path(), &["a", "a/b"]);
        let error = format!("{:#}", unpack(&zip, &to, false).unwrap_err());
        assert!(error.contains("`a` is a file and a folder"), "{error}");
        let place = folder.path().join("link.zip");
        let mut writer = ZipWriter::new(File::create(&place).unwrap());
        writer.add_symlink("l", "/etc", SimpleFileOptions::default()).unwrap();
        writer.finish().unwrap();
        let error = format!("{:#}", unpack(&place, &to, false).unwrap_err());
        assert!(error.contains("`l` is a link"), "{error}");
        assert!(!to.exists());
    }
}
