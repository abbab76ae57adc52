"""Programming tasks of our own, and forms in which they are asked."""

from __future__ import annotations

FORMS = (
    "Write a Python function that {task}.",
    "Write a Python function that {task}. Add a docstring and two examples.",
    "How can I write a function in Python that {task}? Explain the code.",
    "Write a JavaScript function that {task}.",
    "Implement this in Python and add a short test: a function that {task}.",
    "Please complete this program. It {task}.\n\n```python\ndef solve(value):\n    ",
)
TASKS = (
    "returns the largest number of a list",
    "counts how often each word occurs in a text",
    "checks whether a text reads the same backwards",
    "returns the first n Fibonacci numbers",
    "removes duplicates from a list and keeps the order",
    "computes the average of the numbers in a file with one number a line",
    "converts a temperature from Celsius to Fahrenheit",
    "tests whether a number is prime",
    "merges two sorted lists into one sorted list",
    "flattens a list of lists",
    "returns all pairs of numbers in a list whose sum is zero",
    "reverses the order of the words in a sentence",
    "finds the longest common prefix of a list of texts",
    "sorts a list of dictionaries by the key 'age'",
    "turns a number of seconds into hours, minutes and seconds",
    "validates that brackets in a text are balanced",
    "computes the greatest common divisor of two numbers",
    "groups words by their first letter",
    "returns the number of vowels in a text",
    "rotates a list by k places to the right",
    "writes a list of records to a CSV file",
    "finds the second smallest number of a list",
    "replaces every third character of a text by a star",
    "searches a sorted list by halving it",
    "transposes a matrix given as a list of rows",
    "returns the date of the next Friday",
)
SNIPPETS = (
    (
        (
            "def mean(values):\n"
            "    total = 0\n"
            "    for value in values:\n"
            "        total += value\n"
            "    return total / len(values)"
        ),
        (
            "What happens when this function is called with an empty list, and how would you "
            "change it?"
        ),
    ),
    (
        (
            "for i in range(1, 16):\n"
            "    if i % 15 == 0:\n"
            "        print('FizzBuzz')\n"
            "    elif i % 3 == 0:\n"
            "        print('Fizz')\n"
            "    else:\n"
            "        print(i)"
        ),
        "This program forgets one case. Which one? Write the corrected program.",
    ),
    (
        "def add(item, items=[]):\n    items.append(item)\n    return items",
        "Explain why this function behaves strangely when it is called twice, and fix it.",
    ),
    (
        "numbers = [3, 1, 2]\nresult = sorted(numbers, reverse=True)[0]",
        "What is the value of result? Is there a simpler way to write this?",
    ),
    (
        "SELECT name, COUNT(*) FROM orders GROUP BY name HAVING COUNT(*) > 3 ORDER BY name;",
        "Explain what this SQL query returns, clause by clause.",
    ),
    (
        (
            "class Stack:\n"
            "    def __init__(self):\n"
            "        self.items = []\n"
            "\n"
            "    def push(self, item):\n"
            "        self.items.append(item)"
        ),
        "Add the methods pop, peek and is_empty to this class.",
    ),
    (
        "let total = 0;\nfor (const item of cart) {\n  total += item.price * item.count;\n}",
        "Rewrite this loop with reduce, and explain the difference.",
    ),
    (
        (
            "with open('log.txt') as file:\n"
            "    lines = [line for line in file if 'ERROR' in line]\n"
            "print(len(lines))"
        ),
        "Explain this program line by line for someone who has never programmed.",
    ),
)
OTHER = (
    "What is the difference between a list and a tuple in Python? Show an example of each.",
    "Write a regular expression that matches dates such as 2024-03-17, and explain its parts.",
    "Write a SQL query that finds the five customers who spent the most money.",
    "Write an HTML page with a heading, a paragraph and a table of three rows.",
    "Write a shell command that counts the lines of all Python files in a folder.",
    "Explain recursion with a short example in Python.",
    "What does it mean that binary search takes logarithmic time?",
    "Write a Python class for a bank account with deposit, withdraw and balance.",
    "Write a Dockerfile for a small Python web server and explain each line.",
    "Explain the difference between == and is in Python.",
    "Write a function in C that swaps two integers by pointers.",
    "Write a unit test for a function that adds two numbers.",
    "How do I read a JSON file in Python and print one of its values?",
    "Write a Python script that renames all files in a folder to lower case.",
)
