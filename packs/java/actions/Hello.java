import java.util.Scanner;

/** Parameters arrive on standard input, a line name='value' for each; what is printed is the result. */
class Hello {
    public static void main(String[] arguments) {
        String name = "";
        for (Scanner lines = new Scanner(System.in, "UTF-8"); lines.hasNextLine();) {
            String line = lines.nextLine();
            if (line.startsWith("name='")) {
                name = line.substring("name='".length(), line.length() - 1).replace("'\\''", "'");
            }
        }
        System.out.println("{\"greeting\": " + quoted("Hello, " + name + "!")
            + ", \"version\": " + quoted(System.getProperty("java.version")) + "}");
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\t", "\\t") + '"';
    }
}
