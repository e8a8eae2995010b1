use super::*;

fn render(template: &str) -> Result<String, TemplateError> {
    let object = serde_json::json!({
        "Name": "shop-web-1", "ExitCode": 0, "Health": "", "Restarts": 3,
        "Publishers": [
            {"URL": "0.0.0.0", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"},
            {"URL": "::", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"},
        ],
        "Config": {"Labels": {"a.b": "c", "d": "e"}, "Env": ["X=1", "Y=2"]},
    });
    let labels = |key: &str| (key == "a.b").then(|| "c".to_owned());
    Template::parse(template)?.render(object.as_object().unwrap(), &labels)
}

#[test]
fn templates_say_what_gos_do() {
    for (template, text) in [
        ("plain", "plain"),
        ("{{.Name}}\\t{{ .ExitCode }}!", "shop-web-1\t0!"),
        ("{{json .Name}} {{json .Config.Env}}", r#""shop-web-1" ["X=1","Y=2"]"#),
        ("{{upper .Name}}{{.Label \"a.b\"}}{{.Label `x`}}{{title .Name}}", "SHOP-WEB-1cShop-web-1"),
        ("{{.Name | upper | printf \"%-12s|\"}}", "SHOP-WEB-1  |"),
        ("{{.Publishers}}", "[{0.0.0.0 80 8080 tcp} {:: 80 8080 tcp}]"),
        ("{{.Config.Labels}}", "map[a.b:c d:e]"),
        ("{{index .Config.Labels \"a.b\"}}{{(index .Publishers 0).PublishedPort}}", "c8080"),
        (
            "{{range .Publishers}}{{.URL}}:{{.PublishedPort}}/{{$.Name}} {{end}}",
            "0.0.0.0:8080/shop-web-1 :::8080/shop-web-1 ",
        ),
        ("{{range $i, $x := .Config.Env}}{{$i}}={{$x}};{{end}}", "0=X=1;1=Y=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a.b=c d=e "),
        ("{{range .Health}}x{{end}}", "!"),
        ("{{range .Missing}}x{{else}}none{{end}}", "none"),
        ("{{if .Health}}a{{else if eq .ExitCode 0}}b{{else}}c{{end}}", "b"),
        ("{{if and .Name (not .Health)}}yes{{end}}{{if or .Health false}}no{{end}}", "yes"),
        ("{{with .Config}}{{len .Env}}{{end}}{{with .Health}}x{{else}}y{{end}}", "2y"),
        ("{{$n := .Name}}{{$n}} {{if gt .Restarts 2}}often{{end}}", "shop-web-1 often"),
        ("a {{- .ExitCode -}} b{{/* not said */}}", "a0b"),
        ("{{join (split .Name \"-\") \"/\"}} {{truncate .Name 4}} {{slice .Name 5 8}}", "shop/web/1 shop web"),
        ("{{.Missing}}", "<no value>"),
        ("{{\"}}\"}}{{`{{`}}", "}}{{"),
    ] {
        match render(template) {
            Ok(rendered) => assert_eq!(rendered, text, "{template}"),
            Err(error) => assert_eq!(text, "!", "{template}: {error}"),
        }
    }
    assert!(render("{{json .}}").unwrap().starts_with("{\"Name\":\"shop-web-1\",\"ExitCode\":0"));
}

#[test]
fn what_is_not_understood_is_said() {
    for wrong in [
        "{{range .}}",
        "{{.Name",
        "{{if .X}}",
        "{{.A | yaml}}",
        "{{}}",
        "{{.Label \"x}}",
        "{{end}}",
        "{{else}}",
        "{{(.A}}",
        "{{.A)}}",
        "{{.A | }}",
        "{{define \"x\"}}{{end}}",
        "{{#}}",
    ] {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
    for wrong in ["{{$x}}", "{{.Name.First}}", "{{index .Publishers 7}}", "{{lt .Name 1}}", "{{.Name 1}}"] {
        assert!(render(wrong).is_err(), "{wrong}");
    }
    let deep = "{{".to_owned() + &"(".repeat(10_000) + "}}";
    assert!(Template::parse(&deep).is_err());
}

#[test]
fn fields_are_checked_and_become_titles() {
    let check = |text: &str| Template::parse(text).unwrap().check(&["Name", "Publishers"]);
    assert!(check("{{range .Publishers}}{{.URL}}{{$.Name}}{{end}}{{.Label \"k\"}}").is_ok());
    for wrong in ["{{.Nome}}", "{{if .Nome}}{{end}}", "{{upper (.Nome)}}", "{{range .Name}}{{$.Nome}}{{end}}"] {
        assert!(check(wrong).unwrap_err().to_string().contains(".Nome"), "{wrong}");
    }
    let header = Template::parse("{{upper .Name}}\t{{.Label \"com.example.the-tier\"}}\t{{json .Publishers}}").unwrap();
    assert_eq!(
        header.header(&["Name", "Publishers"], &|name| format!("<{name}>")).unwrap(),
        "<Name>\tthe tier\t<Publishers>"
    );
}
