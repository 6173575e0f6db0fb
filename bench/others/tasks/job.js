// The job of graphile-worker, which reads this folder: the child that an automation runner would start.

const { spawn } = require("node:child_process");

const [program, ...words] = JSON.parse(process.env.BENCH_JOB);

module.exports = () =>
    new Promise((resolve, reject) => {
        spawn(program, words, { stdio: "ignore" })
            .on("error", reject)
            .on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`exit code ${code}`))));
    });
