// Parameters arrive on standard input as one JSON object; what is printed is the result.
using System.Text.Json.Nodes;

var parameters = JsonNode.Parse(Console.In.ReadToEnd())!;
var result = new JsonObject
{
    ["greeting"] = $"Hello, {parameters["name"]}!",
    ["version"] = Environment.Version.ToString(),
};
Console.WriteLine(result.ToJsonString());
