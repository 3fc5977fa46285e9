// Runs a script of tests/device on MicroPython's WebAssembly port, a 32-bit VM.
// Arguments: folder of the npm package, root of the repository, name of the script.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, root, script] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(path.join(packageFolder, "micropython.mjs")));
const vm = await loadMicroPython({
  heapsize: 32 << 20,
  stdout: (line) => console.log(line),
  linebuffer: true,
});

function copy(folder, wanted) {
  const parts = folder.split("/");
  for (let depth = 1; depth <= parts.length; depth++) {
    const made = "/" + parts.slice(0, depth).join("/");
    if (!vm.FS.analyzePath(made).exists) vm.FS.mkdir(made);
  }
  for (const name of fs.readdirSync(path.join(root, folder)).filter(wanted)) {
    vm.FS.writeFile(`/${folder}/${name}`, fs.readFileSync(path.join(root, folder, name)));
  }
}

copy("protocol", (name) => name.endsWith(".py"));
copy("tests/protocol", (name) => name === "encoding.py");
copy("tests/vectors", (name) => name.endsWith(".json"));
const source = fs.readFileSync(path.join(root, "tests/device", script), "utf8");
try {
  vm.runPython(`import sys\nsys.path.insert(0, "/")\nsys.argv[:] = ["${script}", "/tests/vectors"]`);
  vm.runPython(source);
} catch (error) {
  console.log(error.message);
  process.exit(1);
}
