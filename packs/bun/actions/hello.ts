// Parameters arrive on standard input as one JSON object; what is printed is the result.
const { name }: { name: string } = await Bun.stdin.json();
console.log(JSON.stringify({ greeting: `Hello, ${name}!`, version: Bun.version }));
