// Runs a script on MicroPython's WebAssembly port, a 32-bit VM.
// Arguments: folder of the npm package, folder whose files the VM sees as its root, the script in it.
// A script is run in parts, divided by lines "# ---": this VM collects garbage only between two.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, stage, script] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(path.join(packageFolder, "micropython.mjs")));
const vm = await loadMicroPython({
  heapsize: 32 << 20,
  stdout: (line) => console.log(line),
  linebuffer: true,
});

function copy(folder) {
  for (const entry of fs.readdirSync(path.join(stage, folder), { withFileTypes: true })) {
    const inside = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) {
      vm.FS.mkdir(`/${inside}`);
      copy(inside);
    } else {
      vm.FS.writeFile(`/${inside}`, fs.readFileSync(path.join(stage, inside)));
    }
  }
}

copy("");
const source = fs.readFileSync(path.join(stage, script), "utf8");
try {
  vm.runPython(`import sys\nsys.path.insert(0, "/")\nsys.argv[:] = ["${script}", "/tests/vectors"]`);
  for (const part of source.split("# ---\n")) vm.runPython(part);
} catch (error) {
  console.log(error.message);
  process.exit(1);
}
