"""Makes a git repository with the shape of a real package, by `git fast-import`.

Files are added over time, edited by how popular they are, renamed, removed, and some come back. Work
happens on a main line and on topic branches that are merged; releases are tagged, some with release
candidates, some from a maintenance branch. The same arguments give the same repository.
"""

import argparse
import random
import subprocess
from pathlib import Path

FOLDERS = ["core", "api", "db", "db/migrations", "web", "web/static", "tests", "tests/unit", "docs", "tools"]


class Repository:
    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
        self.stream = subprocess.Popen(
            ["git", "fast-import", "--quiet", "--force"], cwd=folder, stdin=subprocess.PIPE)
        self.folder, self.mark, self.time, self.named = folder, 0, 1_500_000_000, 0

    def write(self, text):
        self.stream.stdin.write(text.encode())

    def commit(self, branch, before, after, parents):
        """Commits the tree `after`; `before` is that of the first parent."""
        self.mark += 1
        self.time += self.random.randint(60, 40_000)
        message = f"commit {self.mark}"
        self.write(f"commit refs/heads/{branch}\nmark :{self.mark}\n"
                   f"committer A <a@example.com> {self.time} +0000\ndata {len(message)}\n{message}\n")
        for word, parent in zip(["from"] + ["merge"] * len(parents), parents):
            self.write(f"{word} :{parent}\n")
        for path in before.keys() - after.keys():
            self.write(f"D {path}\n")
        for path, lines in after.items():
            if before.get(path) is not lines:
                content = "\n".join(lines) + "\n"
                self.write(f"M 100644 inline {path}\ndata {len(content.encode())}\n{content}\n")
        return self.mark

    def tag(self, name, mark):
        self.write(f"reset refs/tags/{name}\nfrom :{mark}\n\n")

    def new_path(self):
        self.named += 1
        return f"{self.random.choice(FOLDERS)}/file_{self.named}.py"

    def new_content(self):
        """Lines that no other file has, so that no file is taken for a copy of another."""
        key = self.random.getrandbits(64)
        return [f"{key:x}_{at} = {self.random.random()}" for at in range(self.random.randint(8, 60))]

    def work(self, tree, mine, gone, growth):
        """Returns a tree with the changes of one commit, in files that `mine` is true for."""
        tree, dice = dict(tree), self.random
        paths = [path for path in tree if mine(path)]
        for _ in range(growth):
            tree[self.new_path()] = self.new_content()
        for _ in range(min(len(paths), dice.choice([1, 1, 1, 2, 3, 5]))):
            # The earlier files are the popular ones.
            path = paths[int(len(paths) * dice.random() ** 2.5)]
            if path not in tree:
                continue
            roll = dice.random()
            if roll < 0.03:
                lines = tree.pop(path)
                edited = lines if dice.random() < 0.5 else lines + [f"renamed_{dice.random()}"]
                tree[self.new_path()] = list(edited)
            elif roll < 0.05:
                gone.append(path)
                del tree[path]
            else:
                lines = list(tree[path])
                lines[dice.randrange(len(lines))] = f"edited_{dice.random()} = 1"
                tree[path] = lines
        if gone and dice.random() < 0.02:
            tree[gone.pop()] = self.new_content()
        return tree


def make(folder, files, tags, commits_per_tag, seed):
    repository = Repository(folder, seed)
    dice = repository.random
    tree = {repository.new_path(): repository.new_content() for _ in range(max(10, files // 20))}
    main = repository.commit("main", {}, tree, [])
    gone, minor, made = [], 0, 0
    total = tags * commits_per_tag
    while made < tags:
        for _ in range(max(1, int(dice.gauss(commits_per_tag, commits_per_tag / 4)))):
            done = min(1.0, repository.mark / total)
            wanted = int(files * (0.05 + 0.95 * done))
            growth = max(0, min(200, wanted - len(tree)))
            if dice.random() < 0.15:
                # A topic branch has files of its own, so that its merge has no conflict.
                mine = lambda path: len(path) % 2 == 0
                side, side_tree = main, tree
                for _ in range(dice.randint(1, 4)):
                    after = repository.work(side_tree, mine, [], 0)
                    side = repository.commit("topic", side_tree, after, [side])
                    side_tree = after
                on_main = repository.work(tree, lambda path: not mine(path), [], growth)
                main = repository.commit("main", tree, on_main, [main])
                merged = {path: lines for path, lines in on_main.items()
                          if path not in tree or path in side_tree}
                merged.update({path: lines for path, lines in side_tree.items()
                               if tree.get(path) is not lines})
                main = repository.commit("main", on_main, merged, [main, side])
                tree = merged
            else:
                after = repository.work(tree, lambda path: True, gone, growth)
                main = repository.commit("main", tree, after, [main])
                tree = after
        minor += 1
        if dice.random() < 0.2:
            repository.tag(f"v1.{minor}.0rc1", main)
            after = repository.work(tree, lambda path: True, gone, 0)
            main, tree, made = repository.commit("main", tree, after, [main]), after, made + 1
        repository.tag(f"v1.{minor}.0", main)
        made += 1
        if dice.random() < 0.1:
            # A fix on a maintenance branch, which the main line does not reach.
            after = repository.work(tree, lambda path: True, [], 0)
            repository.tag(f"v1.{minor}.1", repository.commit("fixes", tree, after, [main]))
            made += 1
    after = repository.work(tree, lambda path: True, gone, 1)
    repository.commit("main", tree, after, [main])
    repository.stream.stdin.close()
    assert repository.stream.wait() == 0
    git = ["git", "-C", folder]
    subprocess.run([*git, "reset", "-q", "--hard", "main"], check=True)
    subprocess.run([*git, "gc", "-q"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--tags", type=int, default=120)
    parser.add_argument("--commits-per-tag", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    make(args.folder, args.files, args.tags, args.commits_per_tag, args.seed)


if __name__ == "__main__":
    main()
