"""How the bundled example is made: tasks from real data, specialists, and three generalists."""
